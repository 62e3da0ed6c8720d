"""devices: which device files the processes may make, read and write. A new cgroup starts with its parent's rules."""

from __future__ import annotations

from orlop.linux.cgroup.device_rules import Rule, normalise
from orlop.linux.cgroup.files import Resources, Write

__all__ = ["plan"]


def plan(resources: Resources) -> list[Write]:
    """Plan the rules, in their order: a later one overrides an earlier.

    A rule for everything is EINVAL once the cgroup has children, so all rules go in before the first child.
    """
    return [_write(rule) for rule in normalise(resources.get("devices") or ())]


def _write(rule: Rule) -> Write:
    file = "devices.allow" if rule.allow else "devices.deny"
    if rule.everything:
        return Write(file, "a")
    major, minor = ("*" if number is None else number for number in (rule.major, rule.minor))
    return Write(file, f"{rule.type} {major}:{minor} {rule.access}")
