"""Removing a directory tree that a container made: as deep and as hostile as it likes.

`shutil.rmtree` calls itself once a level, and a path can be longer than the kernel takes. Here the way down is one
`openat`, the way up is ``..``, checked to be the directory that was left, and no link is ever followed. Flags that
forbid removal (immutable, append-only) are taken off.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from orlop.linux.filesystem import clear_protection

__all__ = ["empty_directory", "remove_tree"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str | os.PathLike[str]) -> None:
    """Remove the directory `path` and all below it; nothing happens if there is none. Raises `OSError`."""
    try:
        fd = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        empty_directory(fd)
    finally:
        os.close(fd)
    os.rmdir(path)


def empty_directory(directory: int) -> None:
    """Remove all that is in the directory of a descriptor. Raises `OSError`."""
    fd = os.dup(directory)
    way: list[tuple[str, tuple[int, int]]] = []  # names that lead from `directory` to `fd`, and where each is
    try:
        while True:
            below = _remove_entries(fd)
            if below is not None:
                way.append((below, _identity(fd)))
                fd = _replace(fd, below)
            elif way:
                name, parent = way.pop()
                fd = _replace(fd, "..")
                if _identity(fd) != parent:
                    raise OSError(errno.ESTALE, "moved while it was removed", name)
                _forced(os.rmdir, name, fd)
            else:
                return
    finally:
        os.close(fd)


def _remove_entries(fd: int) -> str | None:
    """Remove files and empty directories; return the name of the first directory that is not empty."""
    os.lseek(fd, 0, os.SEEK_SET)
    with os.scandir(fd) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                _forced(os.unlink, entry.name, fd)
                continue
            try:
                _forced(os.rmdir, entry.name, fd)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                return entry.name
    return None


def _forced(remove: Callable[..., None], name: str, fd: int) -> None:
    """Call `remove`; if flags forbid it, take them off the entry and its directory and call it again."""
    try:
        remove(name, dir_fd=fd)
    except PermissionError:
        clear_protection(".", fd)
        clear_protection(name, fd)
        remove(name, dir_fd=fd)


def _replace(fd: int, name: str) -> int:
    following = os.open(name, _DIRECTORY, dir_fd=fd)
    os.close(fd)
    return following


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino
