"""Comparing: what a container has changed in its image, read from the upper directory of its overlay.

Nothing is mounted: a name in the upper directory is added if no layer below has it, changed if one has, and deleted
if it is a whiteout there (character device 0:0). An opaque directory hides all that the layers below have in it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Any

from orlop.image.layers import has_xattr
from orlop.image.unpack import OPAQUE_XATTR
from orlop.linux.openat2 import NO_SYMLINKS, open_in_root
from orlop.model.record import Rootfs

__all__ = ["ADDED", "DELETED", "MODIFIED", "changes"]

MODIFIED, ADDED, DELETED = 0, 1, 2

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_DEPTH = 1024


def changes(rootfs: Rootfs) -> list[dict[str, Any]]:
    """Return ``{"Path", "Kind"}`` of every path that differs, sorted by path: 0 modified, 1 added, 2 deleted.

    A directory that is in the upper only because something deeper changed is left out, as by Docker, unless a name
    came or went in it. Changes that are made meanwhile may or may not be seen. Raises `OSError`.
    """
    with _Layers(rootfs.lower) as layers:
        upper = os.open(rootfs.upper, _OPEN)
        found = dict(_walk(upper, "", layers, hidden=False))
    for path in [path for path, kind in found.items() if kind != MODIFIED]:
        parent = path.rpartition("/")[0]
        if parent:
            found.setdefault(parent, MODIFIED)
    return [{"Path": path, "Kind": kind} for path, kind in sorted(found.items())]


class _Layers:
    """The directories below, topmost first, open."""

    def __init__(self, directories: Sequence[str]) -> None:
        self._fds = [os.open(directory, _OPEN) for directory in directories]

    def __enter__(self) -> _Layers:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._fds:
            os.close(fd)

    def status(self, path: str) -> os.stat_result | None:
        """Return the attributes of what the merged layers have at `path`, None for nothing."""
        parent, _, name = path.rpartition("/")
        for fd in self._fds:
            try:
                directory = open_in_root(fd, parent or "/", os.O_PATH | os.O_DIRECTORY, resolve=NO_SYMLINKS)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    continue
                if error.errno in (errno.ENOTDIR, errno.ELOOP):
                    return None  # a file of this layer is in the way of those below
                raise
            try:
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                return None if _is_whiteout(status) else status
            except FileNotFoundError:
                if has_xattr(f"/proc/self/fd/{directory}/.", OPAQUE_XATTR):
                    return None
            finally:
                os.close(directory)
            if self._hides(fd, parent):
                return None
        return None

    def _hides(self, fd: int, path: str) -> bool:
        """Tell whether a directory that `path` is in is opaque in the layer `fd`."""
        while path:
            try:
                directory = open_in_root(fd, path, os.O_PATH | os.O_DIRECTORY, resolve=NO_SYMLINKS)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise
            else:
                try:
                    if has_xattr(f"/proc/self/fd/{directory}/.", OPAQUE_XATTR):
                        return True
                finally:
                    os.close(directory)
            path = path.rpartition("/")[0]
        return False

    def children(self, path: str) -> set[str]:
        """Return the names that the merged layers have in the directory `path`."""
        names: set[str] = set()
        for fd in self._fds:
            try:
                directory = open_in_root(fd, path, os.O_RDONLY | os.O_DIRECTORY, resolve=NO_SYMLINKS)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise
                continue
            try:
                names.update(os.listdir(directory))
            finally:
                os.close(directory)
        return {name for name in names if self.status(f"{path}/{name}")}


def _walk(fd: int, path: str, layers: _Layers, *, hidden: bool) -> Iterator[tuple[str, int]]:
    """Yield the changes in the directory `fd` of the upper, which this closes; `hidden`: nothing below counts."""
    try:
        for name in os.listdir(fd):
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield from _entry(fd, f"{path}/{name}", name, status, layers, hidden)
    finally:
        os.close(fd)


def _entry(
    fd: int, path: str, name: str, status: os.stat_result, layers: _Layers, hidden: bool
) -> Iterator[tuple[str, int]]:
    below = None if hidden else layers.status(path)
    if _is_whiteout(status):
        if below is not None:
            yield path, DELETED
        return
    if not stat.S_ISDIR(status.st_mode):
        yield path, ADDED if below is None else MODIFIED
        return
    try:
        directory = os.open(name, _OPEN, dir_fd=fd)
    except (FileNotFoundError, NotADirectoryError):
        return
    opaque = has_xattr(f"/proc/self/fd/{directory}/.", OPAQUE_XATTR)
    merged = below is not None and stat.S_ISDIR(below.st_mode)
    if below is None:
        yield path, ADDED
    elif opaque or not merged or not _same_directory(status, below):
        yield path, MODIFIED
    if opaque and merged:
        for gone in layers.children(path) - set(os.listdir(directory)):
            yield f"{path}/{gone}", DELETED
    if path.count("/") > _MAX_DEPTH:
        os.close(directory)
        return
    yield from _walk(directory, path, layers, hidden=hidden or not merged)


def _same_directory(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_mode, one.st_uid, one.st_gid, one.st_size, one.st_mtime_ns) == (
        other.st_mode,
        other.st_uid,
        other.st_gid,
        other.st_size,
        other.st_mtime_ns,
    )


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
