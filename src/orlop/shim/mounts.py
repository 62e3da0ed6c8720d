"""What a mount of a specification asks for: pure, from an OCI mount to a plan (config.md#mounts)."""

from __future__ import annotations

from typing import Any, NamedTuple

from orlop.linux import mount

__all__ = ["MountPlan", "parse", "propagation_of"]

_ATTRIBUTES = {
    "ro": (mount.ATTR_RDONLY, 0),
    "rw": (0, mount.ATTR_RDONLY),
    "nosuid": (mount.ATTR_NOSUID, 0),
    "suid": (0, mount.ATTR_NOSUID),
    "nodev": (mount.ATTR_NODEV, 0),
    "dev": (0, mount.ATTR_NODEV),
    "noexec": (mount.ATTR_NOEXEC, 0),
    "exec": (0, mount.ATTR_NOEXEC),
    "noatime": (mount.ATTR_NOATIME, mount.ATTR_TIME),
    "relatime": (0, mount.ATTR_TIME),
    "atime": (0, mount.ATTR_TIME),
    "strictatime": (mount.ATTR_STRICTATIME, mount.ATTR_TIME),
    "nostrictatime": (0, mount.ATTR_TIME),
    "nodiratime": (mount.ATTR_NODIRATIME, 0),
    "diratime": (0, mount.ATTR_NODIRATIME),
    "nosymfollow": (mount.ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, mount.ATTR_NOSYMFOLLOW),
}
_PROPAGATION = {
    "private": mount.MS_PRIVATE,
    "shared": mount.MS_SHARED,
    "slave": mount.MS_SLAVE,
    "unbindable": mount.MS_UNBINDABLE,
}
_FIELDS = {"x-orlop-beneath": "beneath", "x-orlop-namespace": "namespace", "x-orlop-given": "given"}
_WITHOUT_EFFECT = frozenset(("defaults", "async", "silent", "loud", "nomand", "nolazytime", "norelatime"))


class MountPlan(NamedTuple):
    """One mount. `set` and `clear` are attributes of it, `set_below` and `clear_below` of it and all below it.

    The source of a bind mount is a path of the host, which is trusted. With `beneath` it is that path inside the
    directory `source`, with `namespace` (a path) it is `source` as that mount namespace sees it: both are found
    without leaving the directory or the root of the namespace, whatever links a container has put there. With `given`
    (a number) the source is a mount that came with the request, or the path `beneath` in it.
    """

    destination: str
    kind: str  # "bind", or a file system's type
    source: str
    recursive: bool = False  # a bind mount with what is mounted below the source
    set: int = 0
    clear: int = 0
    set_below: int = 0
    clear_below: int = 0
    propagation: tuple[int, bool] = (mount.MS_PRIVATE, True)  # and whether for all below
    data: tuple[tuple[str, str | None], ...] = ()
    beneath: str = ""
    namespace: str = ""
    given: str = ""


def parse(entry: dict[str, Any]) -> MountPlan:
    """Return the plan of an OCI mount. A word that is no option of mount(8) is the file system's."""
    kind = entry.get("type") or "none"
    recursive = False
    here, below = [0, 0], [0, 0]
    propagation = (mount.MS_PRIVATE, True)
    data: list[tuple[str, str | None]] = []
    fields: dict[str, str] = {}
    for option in entry.get("options") or ():
        if option in ("bind", "rbind"):
            kind, recursive = "bind", option == "rbind"
        elif option in _ATTRIBUTES:
            _apply(here, *_ATTRIBUTES[option])
        elif option[:1] == "r" and option[1:] in _ATTRIBUTES:
            _apply(below, *_ATTRIBUTES[option[1:]])
        elif (found := propagation_of(option)) is not None:
            propagation = found
        elif option not in _WITHOUT_EFFECT:
            key, equals, value = option.partition("=")
            if key in _FIELDS:
                fields[_FIELDS[key]] = value
            else:
                data.append((key, value if equals else None))
    return MountPlan(
        destination=entry["destination"],
        kind=kind,
        source=entry.get("source") or "",
        recursive=recursive,
        set=here[0],
        clear=here[1],
        set_below=below[0],
        clear_below=below[1],
        propagation=propagation,
        data=tuple(data),
        **fields,
    )


def propagation_of(word: str) -> tuple[int, bool] | None:
    """Return the propagation that a word such as ``rslave`` names, and whether it is for all mounts below."""
    if word in _PROPAGATION:
        return _PROPAGATION[word], False
    if word[:1] == "r" and word[1:] in _PROPAGATION:
        return _PROPAGATION[word[1:]], True
    return None


def _apply(bits: list[int], set_: int, clear: int) -> None:
    """Let a later option win over an earlier one."""
    bits[0] = bits[0] & ~clear & ~_opposite(set_) | set_
    bits[1] = bits[1] & ~set_ | clear


def _opposite(set_: int) -> int:
    return mount.ATTR_TIME if set_ & mount.ATTR_TIME else 0
