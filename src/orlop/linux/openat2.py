"""openat2(2): opening a path of a container, an image or a client beneath a directory that it cannot leave."""

from __future__ import annotations

import errno
import os
import stat
import struct

from orlop.linux import mount
from orlop.linux.proc import PROC_SUPER_MAGIC
from orlop.linux.syscall import call

__all__ = [
    "BENEATH",
    "IN_ROOT",
    "NO_MAGICLINKS",
    "NO_SYMLINKS",
    "NO_XDEV",
    "make_directory",
    "make_file",
    "open_in_root",
    "open_regular",
    "openat2",
]

NO_XDEV = 0x01
NO_MAGICLINKS = 0x02
NO_SYMLINKS = 0x04
BENEATH = 0x08
IN_ROOT = 0x10

_HOW = struct.Struct("QQQ")
_RETRIES = 128
_MAX_LINKS = 40


def openat2(directory: int, path: str | bytes, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open `path` relative to `directory`, always close-on-exec, under the rules of `resolve`. Raises `OSError`."""
    how = _HOW.pack(flags | os.O_CLOEXEC, mode, resolve)
    name = os.fsencode(path)
    for _ in range(_RETRIES):
        try:
            return call("openat2", directory, name, how, _HOW.size)
        except BlockingIOError:  # a rename or mount elsewhere raced with ".." (EAGAIN): the kernel asks to try again
            continue
        except OSError as error:
            error.filename = os.fsdecode(name)
            raise
    return call("openat2", directory, name, how, _HOW.size)


def open_in_root(root_fd: int, path: str | bytes, flags: int, mode: int = 0, *, resolve: int = 0) -> int:
    """Open `path` as a process would whose root directory is `root_fd`; magic links are refused (ELOOP)."""
    return openat2(root_fd, path, flags, mode, IN_ROOT | NO_MAGICLINKS | resolve)


def make_directory(root_fd: int, path: str, mode: int = 0o755, *, resolve: int = 0) -> int:
    """Open the directory `path` beneath `root_fd` (O_PATH); make what is missing of it (less the umask).

    Links on the way are followed inside the root, also where they dangle: then their target is made.
    """
    return _make(root_fd, path or "/", mode, resolve, os.O_DIRECTORY, _MAX_LINKS)


def make_file(root_fd: int, path: str, mode: int = 0o644) -> int:
    """Open the file `path` beneath `root_fd` (O_PATH), whatever its type; if it is missing make an empty one."""
    return _make(root_fd, path, mode, 0, 0, _MAX_LINKS)


def _make(root_fd: int, path: str, mode: int, resolve: int, kind: int, links: int) -> int:
    """Open `path`, or make it: a directory if `kind` is O_DIRECTORY. Every step is one name in an open directory."""
    try:
        return open_in_root(root_fd, path, os.O_PATH | kind, resolve=resolve)
    except FileNotFoundError:
        parent, name = _split(path)
    parent_fd = _make(root_fd, parent or "/", 0o755, resolve, os.O_DIRECTORY, links)
    try:
        try:
            if kind:
                os.mkdir(name, mode, dir_fd=parent_fd)
            else:
                os.mknod(name, stat.S_IFREG | mode, dir_fd=parent_fd)
        except FileExistsError:  # a dangling link, or another start made it in a volume that both have
            target = _link_target(parent_fd, name)
            if target is not None:
                if resolve & NO_SYMLINKS or not links:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
                path = target if target.startswith("/") else f"{parent}/{target}"
                return _make(root_fd, path, mode, resolve, kind, links - 1)
        return openat2(parent_fd, name, os.O_PATH | os.O_NOFOLLOW | kind, resolve=BENEATH | NO_SYMLINKS)
    finally:
        os.close(parent_fd)


def _link_target(directory: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:  # EINVAL: it is no link
        return None


def open_regular(root_fd: int, path: str, proc_fds: int) -> int:
    """Open the regular file `path` beneath `root_fd` for reading; nothing else is ever opened (a FIFO would block).

    Nor is one of procfs, where /proc/kmsg is a regular file as well.

    `proc_fds` is a descriptor of ``/proc/self/fd`` of the host's procfs, through which the O_PATH descriptor is
    opened. Raises `OSError` (EINVAL if it is not a regular file).
    """
    path_fd = open_in_root(root_fd, path, os.O_PATH)
    try:
        if not stat.S_ISREG(os.fstat(path_fd).st_mode) or mount.filesystem_type(path_fd) == PROC_SUPER_MAGIC:
            raise OSError(errno.EINVAL, "not a regular file", path)
        return os.open(str(path_fd), os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc_fds)
    finally:
        os.close(path_fd)


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise OSError(errno.EINVAL, "not a name", path)
    return parent, name
