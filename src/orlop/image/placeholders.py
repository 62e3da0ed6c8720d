"""Placeholders: what stands in a container's file tree so that something can be mounted on it, and is nobody's change.

An image need not have these. dockerd puts them below every container, Orlop makes them when they are mounted on.
"""

from __future__ import annotations

from orlop.formats.tar.entry import Entry, Kind

__all__ = ["PLACEHOLDERS", "entries"]

_DIRECTORIES = ("dev", "dev/pts", "dev/shm", "etc", "proc", "sys")
_FILES = (".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf")
_MTAB = ("etc/mtab", "/proc/mounts")

PLACEHOLDERS = frozenset(f"/{path}" for path in (*_DIRECTORIES, *_FILES, _MTAB[0]) if path != "etc")
"""Their paths in the container."""


def entries(mtime: int) -> list[Entry]:
    """Return all of them, directories first, as entries of an archive."""
    return [
        *(Entry(path, Kind.DIRECTORY, mode=0o755, mtime=mtime) for path in _DIRECTORIES),
        *(Entry(path, Kind.FILE, mode=0o755, mtime=mtime) for path in _FILES),
        Entry(_MTAB[0], Kind.SYMLINK, mode=0o777, mtime=mtime, linkname=_MTAB[1]),
    ]
