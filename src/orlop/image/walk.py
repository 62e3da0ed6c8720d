"""Walking a tree that a container may be changing: every step is one name in an open directory, nothing is followed.

A name that is exchanged for a link, or a directory that is moved elsewhere, therefore leads nowhere else. What vanishes
meanwhile is left out. The walk holds few descriptors, however deep the tree is.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from orlop.errors import Conflict
from orlop.linux.openat2 import BENEATH, NO_SYMLINKS, NO_XDEV, openat2

__all__ = ["GONE", "Found", "open_beneath", "walk"]

GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE)
"""What opening a name says that was removed or exchanged since it was seen."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_HELD_OPEN = 48  # directories


@dataclass(slots=True)
class Found:
    """A name in the tree: its path without a leading slash, and the open directory that it is in."""

    path: str
    directory: int
    name: str
    status: os.stat_result


@dataclass(slots=True)
class _Level:
    path: str
    fd: int
    names: list[str]  # still to be visited, the last one first


def walk(root: int) -> Iterator[Found]:
    """Yield all that is beneath the open directory `root`: a directory before its contents, names in order of bytes.

    What is mounted in it is not entered. A found thing's descriptor is valid until the next one is asked for. Raises
    `OSError`, and `Conflict` for what lies deeper than a path can be long.
    """
    levels = [_Level("", os.dup(root), _names(root))]
    try:
        while levels:
            level = levels[-1]
            if not level.names:
                _close(levels.pop())
                continue
            if level.fd < 0:
                level.fd = _reopened(root, level.path)
                if level.fd < 0:
                    level.names.clear()
                    continue
            name = level.names.pop()
            try:
                status = os.stat(name, dir_fd=level.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            path = f"{level.path}/{name}" if level.path else name
            yield Found(path, level.fd, name, status)
            if stat.S_ISDIR(status.st_mode):
                _enter(levels, name, path)
    finally:
        for level in levels:
            _close(level)


def open_beneath(directory: int, path: str, flags: int) -> int:
    """Open `path` beneath an open directory: no link, no other mount is on the way. Raises `OSError`."""
    return openat2(directory, path or ".", flags, resolve=BENEATH | NO_SYMLINKS | NO_XDEV)


def _enter(levels: list[_Level], name: str, path: str) -> None:
    above = levels[-1]
    try:
        fd = open_beneath(above.fd, name, _DIRECTORY)
    except OSError as error:
        if error.errno not in (*GONE, errno.EXDEV):
            raise
        return
    levels.append(_Level(path, fd, _names(fd)))
    if len(levels) > _HELD_OPEN:
        _close(above)


def _names(fd: int) -> list[str]:
    return sorted(os.listdir(fd), key=os.fsencode, reverse=True)


def _reopened(root: int, path: str) -> int:
    """Open a directory once more; -1 if it is gone."""
    try:
        return open_beneath(root, path, _DIRECTORY)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise Conflict(f"the file tree is too deep: {path[:100]}… has {len(os.fsencode(path))} bytes") from None
        if error.errno not in GONE:
            raise
        return -1


def _close(level: _Level) -> None:
    if level.fd >= 0:
        os.close(level.fd)
        level.fd = -1
