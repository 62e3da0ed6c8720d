"""Trees that a container or an archive made, as deep and as hostile as they like: removing and measuring them.

`shutil.rmtree` calls itself once a level, and a path can be longer than the kernel takes. Here the way down is one
`openat`, the way up is ``..``, checked to be the directory that was left, and no link is ever followed: neither the
stack nor the table of descriptors grows with the tree. Flags that forbid removal (chattr +i, +a) are taken off.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from orlop.linux.filesystem import clear_protection

__all__ = ["Stopped", "TreeSize", "empty_directory", "measure", "remove_entry", "remove_tree"]

Stop = Callable[[], bool]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SECTOR = 512  # what st_blocks counts, whatever the file system's blocks are (stat(2))


class Stopped(Exception):
    """The caller's `stop` ended the removal; what is left can be removed later."""


@dataclass(slots=True)
class TreeSize:
    """What a tree takes, in bytes: `length` of its files and links, `allocated` on the disk, as du(1) counts."""

    length: int = 0
    allocated: int = 0


def remove_tree(path: str | os.PathLike[str], stop: Stop = lambda: False) -> None:
    """Remove the directory `path` and all below it; nothing happens if there is none.

    `stop` is asked at each directory. Raises `Stopped` and `OSError`.
    """
    try:
        fd = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return
    try:
        empty_directory(fd, stop)
    finally:
        os.close(fd)
    try:
        os.rmdir(path)
    except PermissionError:
        clear_protection(os.fspath(path))
        os.rmdir(path)


def remove_entry(parent: int, name: str) -> None:
    """Remove `name` in the directory `parent`, whatever it is. Raises `OSError`, also if there is nothing."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        _forced(os.unlink, name, parent)
        return
    fd = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        empty_directory(fd)
    finally:
        os.close(fd)
    _forced(os.rmdir, name, parent)


def empty_directory(directory: int, stop: Stop = lambda: False) -> None:
    """Remove all that is in the directory of a descriptor. Raises `Stopped` and `OSError`."""
    fd = os.open(".", _DIRECTORY, dir_fd=directory)
    way: list[tuple[str, tuple[int, int], list[str]]] = []  # to `fd`: each name, where it is, what else is there
    try:
        rest = _remove_files(fd)
        while True:
            if stop():
                raise Stopped
            if rest:
                name = rest.pop()
                way.append((name, _identity(fd), rest))
                fd = _replace(fd, name)
                rest = _remove_files(fd)
            elif way:
                name, parent, rest = way.pop()
                fd = _replace(fd, "..")
                if _identity(fd) != parent:
                    raise OSError(errno.ESTALE, "moved while it was removed", name)
                _forced(os.rmdir, name, fd)
            else:
                return
    finally:
        os.close(fd)


def measure(root: str | os.PathLike[str], seen: set[tuple[int, int]] | None = None) -> TreeSize:
    """Measure `root` and all beneath it; a file with several names counts once.

    `seen` holds the inodes with several names that were counted before, elsewhere, and gets those of here.
    Directories count as allocated only. What is mounted from another file system is left out. The tree may change
    meanwhile: what vanishes is not counted, nor what lies deeper than a path can be long. Raises `OSError`.
    """
    size = TreeSize()
    seen = set() if seen is None else seen
    pending: list[str | os.PathLike[str]] = [root]
    device = None
    while pending:
        directory = pending.pop()
        try:
            own = os.stat(directory, follow_symlinks=False)
            device = own.st_dev if device is None else device
            if own.st_dev != device:
                continue
            size.allocated += own.st_blocks * _SECTOR
            entries = os.scandir(directory)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
                raise
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if status.st_nlink > 1:
                    if (key := (status.st_dev, status.st_ino)) in seen:
                        continue
                    seen.add(key)
                size.length += status.st_size
                size.allocated += status.st_blocks * _SECTOR
    return size


def _remove_files(fd: int) -> list[str]:
    """Remove all that is no directory; return the names of the directories."""
    directories: list[str] = []
    with os.scandir(fd) as entries:
        files: list[str] = []
        for entry in entries:
            (directories if entry.is_dir(follow_symlinks=False) else files).append(entry.name)
    for name in files:
        _forced(os.unlink, name, fd)
    return directories


def _forced(remove: Callable[..., None], name: str, fd: int) -> None:
    """Call `remove`; if flags forbid it, take them off the entry and its directory and call it again."""
    try:
        remove(name, dir_fd=fd)
    except FileNotFoundError:
        return  # somebody else removed it
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
