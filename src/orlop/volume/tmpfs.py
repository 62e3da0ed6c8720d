"""Options of a tmpfs, as ``--tmpfs`` and ``--mount type=tmpfs`` give them (tmpfs(5), mount(8))."""

from __future__ import annotations

import re
from collections.abc import Iterable

from orlop.errors import InvalidArgument
from orlop.model.api.container import TmpfsOptions

__all__ = ["check_tmpfs_options", "tmpfs_options"]

_FLAGS = frozenset(
    """
    async atime bind defaults dev diratime dirsync exec mand noatime nodev nodiratime noexec nomand norelatime
    nostrictatime nosuid private ro relatime remount rbind rprivate rshared rslave runbindable rw shared slave
    strictatime suid sync unbindable
    """.split()  # noqa: SIM905
)
_VALUES = {
    "size": re.compile(r"[0-9]+[kmgtpe%]?", re.IGNORECASE | re.ASCII),
    "mode": re.compile(r"[0-7]{1,5}", re.ASCII),
    "uid": re.compile(r"[0-9]{1,10}", re.ASCII),
    "gid": re.compile(r"[0-9]{1,10}", re.ASCII),
    "nr_inodes": re.compile(r"[0-9]+[kmg]?", re.IGNORECASE | re.ASCII),
    "nr_blocks": re.compile(r"[0-9]+[kmg]?", re.IGNORECASE | re.ASCII),
    "mpol": re.compile(r"[a-z0-9:=,-]+", re.ASCII),
}
_UNITS = ((1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k"))


def check_tmpfs_options(options: Iterable[str]) -> None:
    """Raise `InvalidArgument` for an option that is neither a mount flag nor one of tmpfs."""
    for option in options:
        name, separator, value = option.partition("=")
        good = _VALUES[name].fullmatch(value) if separator and name in _VALUES else option in _FLAGS
        if not good:
            raise InvalidArgument(f'invalid tmpfs option "{option}"')


def tmpfs_options(options: TmpfsOptions | None, read_only: bool) -> tuple[str, ...]:
    """Return the options of a `--mount` as words: ``ro``, ``mode=1777``, ``size=64m``…"""
    words = ["ro"] if read_only else []
    if options is None:
        return tuple(words)
    if options.mode:
        words.append(f"mode={options.mode:o}")
    if options.size_bytes < 0:
        raise InvalidArgument(f"invalid tmpfs size: {options.size_bytes}")
    if options.size_bytes:
        size, unit = next(((u, s) for u, s in _UNITS if options.size_bytes % u == 0), (1, ""))
        words.append(f"size={options.size_bytes // size}{unit}")
    for option in options.options or ():
        if option not in (["exec"], ["noexec"]):
            raise InvalidArgument(f"invalid tmpfs option: {'='.join(option)}")
        words += option
    check_tmpfs_options(words)
    return tuple(words)
