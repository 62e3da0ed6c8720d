"""Options of a tmpfs, as `--tmpfs` and `--mount type=tmpfs` take them (mount(8), tmpfs(5))."""

from __future__ import annotations

from collections.abc import Iterable

from orlop.errors import InvalidArgument

__all__ = ["DEFAULTS", "merge"]

DEFAULTS = ("noexec", "nosuid", "nodev", "rprivate")

# Flags by what they decide: of each group the last one named counts.
_FLAGS = {
    name: group
    for group, names in {
        "access": ("ro", "rw"),
        "suid": ("suid", "nosuid"),
        "dev": ("dev", "nodev"),
        "exec": ("exec", "noexec"),
        "sync": ("sync", "async"),
        "dirsync": ("dirsync",),
        "mand": ("mand", "nomand"),
        "atime": ("atime", "noatime"),
        "diratime": ("diratime", "nodiratime"),
        "relatime": ("relatime", "norelatime"),
        "strictatime": ("strictatime", "nostrictatime"),
        "propagation": (*("private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"),),
    }.items()
    for name in names
}
_DATA = frozenset(("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"))


def merge(options: Iterable[str]) -> list[str]:
    """Return the options with those left out that a later one contradicts or repeats.

    Raises `InvalidArgument` with dockerd's text for an option that a tmpfs does not have.

    >>> merge(["noexec", "nosuid", "exec", "size=64m", "size=1g"])
    ['nosuid', 'exec', 'size=1g']
    """
    kept: dict[str, str] = {}
    for option in options:
        if option in ("", "defaults"):
            continue
        key, separator, _ = option.partition("=")
        group = _FLAGS.get(option)
        if group is None:
            if not separator or key not in _DATA:
                raise InvalidArgument(f'invalid tmpfs option ["{option}"]')
            group = f"={key}"
        # Taken out first, so that it stands where it was named last.
        kept.pop(group, None)
        kept[group] = option
    return list(kept.values())
