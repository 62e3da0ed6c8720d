"""Removing a tree that a container or an archive made: of any depth and size, with flags that forbid it.

The walk holds descriptors of at most `_DEPTH` directories. What lies deeper is moved up next to the root of the walk
first, so that neither the stack nor the table of descriptors grows with the tree. Nothing is ever followed.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable
from pathlib import Path

from orlop.linux.filesystem import clear_protection

__all__ = ["remove_entry", "remove_tree"]

_DEPTH = 48
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Stopped(Exception):
    """The caller asked to stop."""


def remove_tree(path: Path, stop: Callable[[], bool] = lambda: False) -> None:
    """Remove the directory `path` and all in it; give up in between when `stop` says so. Raises `OSError`."""
    parent = os.open(path.parent, _OPEN)
    try:
        remove_entry(parent, path.name, stop)
    except _Stopped:
        return
    finally:
        os.close(parent)


def remove_entry(parent: int, name: str, stop: Callable[[], bool] = lambda: False) -> None:
    """Remove `name` in the directory `parent`, whatever it is. Raises `OSError`."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        _forced(os.unlink, parent, name)
        return
    _Walk(parent, name, stop).run()


class _Walk:
    def __init__(self, parent: int, name: str, stop: Callable[[], bool]) -> None:
        self.parent = parent
        self.name = name
        self.stop = stop
        self.numbers = itertools.count()
        self.deep: list[str] = []  # moved up, to be removed after

    def run(self) -> None:
        self._directory(self.parent, self.name, 0)
        while self.deep:
            self._directory(self.parent, self.deep.pop(), 0)

    def _directory(self, parent: int, name: str, depth: int) -> None:
        if self.stop():
            raise _Stopped
        fd = _open_directory(parent, name)
        try:
            with os.scandir(fd) as entries:
                children = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            for child, is_directory in children:
                if not is_directory:
                    _forced(os.unlink, fd, child)
                elif depth < _DEPTH:
                    self._directory(fd, child, depth + 1)
                else:
                    self._move_up(fd, child)
        finally:
            os.close(fd)
        _forced(os.rmdir, parent, name)

    def _move_up(self, fd: int, child: str) -> None:
        target = f"{self.name}.deep-{next(self.numbers)}"
        try:
            os.rename(child, target, src_dir_fd=fd, dst_dir_fd=self.parent)
        except PermissionError:
            clear_protection(".", fd)
            clear_protection(child, fd)
            os.rename(child, target, src_dir_fd=fd, dst_dir_fd=self.parent)
        self.deep.append(target)


def _open_directory(parent: int, name: str) -> int:
    return os.open(name, _OPEN, dir_fd=parent)


def _forced(remove: Callable[..., None], parent: int, name: str) -> None:
    """Call `remove`; if flags forbid it, take them off the entry and its directory and call it again."""
    try:
        remove(name, dir_fd=parent)
    except FileNotFoundError:
        return
    except PermissionError:
        clear_protection(".", parent)
        clear_protection(name, parent)
        remove(name, dir_fd=parent)
