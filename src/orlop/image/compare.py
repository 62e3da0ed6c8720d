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

from orlop.image.attributes import OPAQUE_XATTR
from orlop.image.layers import has_xattr
from orlop.image.placeholders import PLACEHOLDERS
from orlop.linux.openat2 import NO_SYMLINKS, open_in_root
from orlop.model.record import Rootfs

__all__ = ["ADDED", "DELETED", "MODIFIED", "changes"]

MODIFIED, ADDED, DELETED = 0, 1, 2
_STIRRED = -1  # a directory of which only size and time differ, as by names that come and go

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""What opening a directory says that went meanwhile, or that lies deeper than a path can be long."""


def changes(rootfs: Rootfs) -> list[dict[str, Any]]:
    """Return ``{"Path", "Kind"}`` of every path that differs, sorted by path: 0 modified, 1 added, 2 deleted.

    A directory that is in the upper only because something deeper changed is left out, as by Docker, unless a name
    came or went in it. Changes that are made meanwhile may or may not be seen. Raises `OSError`.
    """
    with _Layers(rootfs.lower) as layers:
        upper = os.open(rootfs.upper, _OPEN)
        try:
            walked = dict(_walk(upper, layers))
        finally:
            os.close(upper)
    ours = {path for path, kind in walked.items() if kind == ADDED and path in PLACEHOLDERS}
    found = {path: kind for path, kind in walked.items() if path not in ours}
    holding = {_parent(path) for path in ours} - {_parent(path) for path in found}
    found = {path: max(kind, MODIFIED) for path, kind in found.items() if kind != _STIRRED or path not in holding}
    for path in [path for path, kind in found.items() if kind != MODIFIED]:
        if _parent(path):
            found.setdefault(_parent(path), MODIFIED)
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
                if has_xattr(f"/proc/self/fd/{directory}", OPAQUE_XATTR, follow=True):
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
                if error.errno not in _GONE:
                    raise
            else:
                try:
                    if has_xattr(f"/proc/self/fd/{directory}", OPAQUE_XATTR, follow=True):
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
                if error.errno not in _GONE:
                    raise
                continue
            try:
                names.update(os.listdir(directory))
            finally:
                os.close(directory)
        return {name for name in names if self.status(f"{path}/{name}")}


def _walk(upper: int, layers: _Layers) -> Iterator[tuple[str, int]]:
    """Yield the changes in the upper directory, in no order; directories that are there by the way are left out."""
    pending = [("", False)]
    while pending:
        path, hidden = pending.pop()  # hidden: no layer below has anything that shows here
        try:
            fd = open_in_root(upper, path or "/", _OPEN, resolve=NO_SYMLINKS)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            continue
        try:
            if path and has_xattr(f"/proc/self/fd/{fd}", OPAQUE_XATTR, follow=True) and not hidden:
                for name in layers.children(path) - set(os.listdir(fd)):
                    yield f"{path}/{name}", DELETED
            for name in os.listdir(fd):
                child = f"{path}/{name}"
                try:
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                below = None if hidden else layers.status(child)
                kind = _kind(status, below)
                if kind is not None:
                    yield child, kind
                if stat.S_ISDIR(status.st_mode):
                    pending.append((child, below is None or not stat.S_ISDIR(below.st_mode)))
        finally:
            os.close(fd)


def _kind(status: os.stat_result, below: os.stat_result | None) -> int | None:
    """Tell what happened to a name in the upper directory; None for nothing that counts."""
    if _is_whiteout(status):
        return None if below is None else DELETED
    if below is None:
        return ADDED
    if not (stat.S_ISDIR(status.st_mode) and stat.S_ISDIR(below.st_mode)):
        return MODIFIED
    if (status.st_mode, status.st_uid, status.st_gid) != (below.st_mode, below.st_uid, below.st_gid):
        return MODIFIED
    if (status.st_size, status.st_mtime_ns) != (below.st_size, below.st_mtime_ns):
        return _STIRRED
    return None


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
