"""Views: a container's files as others may read them, detached, read-only, without devices.

Nobody else sees such a mount, and it goes with its descriptor. A running container's own mount is inside its namespace
only: a thread goes there and clones it. The upper directory of one that does not run is the topmost *lower* one of
another overlay.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from orlop.image.snapshots.overlay import OPTIONS
from orlop.linux import mount, namespace
from orlop.model.record import Rootfs

__all__ = ["merged", "sealed", "whole"]

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
def whole(rootfs: Rootfs, pid: int = 0) -> Iterator[int]:
    """Look at a container's files; `pid` is its first process if it runs. Raises `OSError`."""
    found = _root_of(pid) if pid else None
    if found is None:
        with merged((rootfs.upper, *rootfs.lower)) as fd:
            yield fd
    else:
        with _root(found) as fd:
            yield fd


@contextmanager
def sealed(directory: str) -> Iterator[int]:
    """Look at one directory of this host as it is; yield its root, open for reading. Raises `OSError`."""
    with _root(mount.clone_tree(directory)) as fd:
        yield fd


def _root_of(pid: int) -> int | None:
    """Return a detached clone of the mount that is a process's root, None if it has ended. Raises `OSError`.

    What is mounted on it is not cloned. A mount can be cloned only where it is, so a thread joins that namespace.
    """
    found: list[int | OSError] = []

    def clone() -> None:
        try:
            joined = namespace.open_namespace("mount", pid)
            try:
                namespace.unshare(namespace.CLONE_FS)  # root and working directory are this thread's own now
                namespace.setns(joined, namespace.CLONE_NEWNS)
                found.append(mount.clone_tree("/"))
            finally:
                os.close(joined)
        except OSError as error:
            found.append(error)

    thread = threading.Thread(target=clone, name="image-view")
    thread.start()
    thread.join()
    result = found[0]
    if isinstance(result, (ProcessLookupError, FileNotFoundError)):
        return None
    if isinstance(result, OSError):
        raise result
    return result


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
