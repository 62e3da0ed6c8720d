"""devices: which device files the processes may make, read and write. A new cgroup starts with its parent's rules."""

from __future__ import annotations

from typing import Any

from orlop.linux.cgroup.files import Resources, Write

__all__ = ["plan"]


def plan(resources: Resources) -> list[Write]:
    """Plan the rules, in their order: a later one overrides an earlier.

    A rule for everything (``a``) is EINVAL once the cgroup has children, so all rules go in before the first child.
    """
    return [_write(rule) for rule in resources.get("devices") or ()]


def _write(rule: dict[str, Any]) -> Write:
    kind, access = rule.get("type") or "a", rule.get("access") or "rwm"
    file = "devices.allow" if rule.get("allow") else "devices.deny"
    major, minor = _number(rule.get("major")), _number(rule.get("minor"))
    if kind == "a" and (major, minor) == ("*", "*") and set(access) == set("rwm"):
        return Write(file, "a")
    return Write(file, f"{kind} {major}:{minor} {access}")


def _number(value: int | None) -> str:
    return "*" if value is None or value < 0 else str(value)
