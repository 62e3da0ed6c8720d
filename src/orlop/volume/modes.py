"""The mode of a bind: the third part of ``-v source:destination:mode``."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROPAGATIONS", "MountMode"]

PROPAGATIONS = frozenset(("private", "rprivate", "slave", "rslave", "shared", "rshared"))
_GROUPS = (
    frozenset(("rw", "ro")),
    frozenset(("z", "Z")),
    PROPAGATIONS,
    frozenset(("nocopy",)),
    frozenset(("consistent", "cached", "delegated")),
)


@dataclass(frozen=True, slots=True)
class MountMode:
    """What a mode says; the default is that of an empty one. Labels of SELinux and consistency are without effect."""

    rw: bool = True
    propagation: str = ""
    nocopy: bool = False

    @classmethod
    def parse(cls, text: str) -> MountMode | None:
        """Read a mode such as ``ro,rslave``; None for one that is none: an unknown word or two of one kind."""
        if not text:
            return cls()
        words = text.split(",")
        for word in words:
            if not any(word in group for group in _GROUPS):
                return None
        for group in _GROUPS:
            if sum(word in group for word in words) > 1:
                return None
        propagation = next((word for word in words if word in PROPAGATIONS), "")
        return cls(rw="ro" not in words, propagation=propagation, nocopy="nocopy" in words)
