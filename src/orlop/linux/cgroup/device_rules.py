"""Device rules of an OCI specification in one plain form, for both cgroup versions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["Rule", "normalise"]


class Rule(NamedTuple):
    """One rule. `type` is ``a`` (everything: then the rest is None and ``rwm``), ``b`` or ``c``; None is any number."""

    allow: bool
    type: str
    major: int | None
    minor: int | None
    access: str  # of r, w, m, in this order

    @property
    def everything(self) -> bool:
        """Whether the rule is for all devices and all accesses: then it makes those before it void."""
        return self.type == "a"


def normalise(rules: Iterable[dict[str, Any]]) -> list[Rule]:
    """Return the rules in their order. Raises `ValueError` for a type or an access that is none.

    A rule of type ``a`` that names a number or not all accesses becomes one for block and one for character devices:
    the kernel's own ``a`` (v1) looks at nothing else, and would open everything.
    """
    plain = []
    for rule in rules:
        allow, kind, access = bool(rule.get("allow")), rule.get("type") or "a", rule.get("access") or "rwm"
        if kind not in ("a", "b", "c", "u") or not set(access) <= set("rwm"):
            raise ValueError(f"not a device rule: {rule}")
        ordered = "".join(letter for letter in "rwm" if letter in access)
        major, minor = _number(rule.get("major")), _number(rule.get("minor"))
        if kind == "a" and major is None and minor is None and ordered == "rwm":
            plain.append(Rule(allow, "a", None, None, ordered))
        else:
            kinds = ("b", "c") if kind == "a" else ("c" if kind == "u" else kind,)
            plain += [Rule(allow, one, major, minor, ordered) for one in kinds]
    return plain


def _number(value: int | None) -> int | None:
    return None if value is None or value < 0 else value
