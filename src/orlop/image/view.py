"""Views: a container's files as others may read them, detached, read-only, without devices.

Nobody else sees such a mount, and it goes with its descriptor. A running container's own mount is inside its namespace
only; here its upper directory is the topmost *lower* one of a second overlay. The kernel says that a change below an
overlay may be seen or not, and that no more than that happens: a view is of the moment, and is read once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from orlop.image.snapshots.overlay import OPTIONS
from orlop.linux import mount

__all__ = ["merged", "sealed"]

_SEALED = mount.ATTR_RDONLY | mount.ATTR_NODEV | mount.ATTR_NOSUID | mount.ATTR_NOEXEC | mount.ATTR_NOATIME


@contextmanager
def merged(directories: Sequence[str]) -> Iterator[int]:
    """Merge the directories of layers, topmost first; yield the root, open for reading. Raises `OSError`."""
    if len(directories) == 1:
        with sealed(directories[0]) as fd:
            yield fd
        return
    with _root(mount.detached_overlay(directories, "", "", OPTIONS)) as fd:
        yield fd


@contextmanager
def sealed(directory: str) -> Iterator[int]:
    """Look at one directory of this host as it is; yield its root, open for reading. Raises `OSError`."""
    with _root(mount.clone_tree(directory)) as fd:
        yield fd


@contextmanager
def _root(mount_fd: int) -> Iterator[int]:
    try:
        mount.mount_setattr(mount_fd, _SEALED, mount.ATTR_TIME, mount.MS_PRIVATE)
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount_fd)
        try:
            yield fd
        finally:
            os.close(fd)
    finally:
        os.close(mount_fd)  # the mount goes with it
