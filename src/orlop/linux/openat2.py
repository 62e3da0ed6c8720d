"""openat2(2): opening a path of a container, an image or a client beneath a directory that it cannot leave."""

from __future__ import annotations

import os
import stat
import struct

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

    Links on the way are followed inside the root. A dangling link is not made whole: EEXIST.
    """
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        return open_in_root(root_fd, path or "/", flags, resolve=resolve)
    except FileNotFoundError:
        pass
    parent, name = _split(path)
    parent_fd = make_directory(root_fd, parent, mode, resolve=resolve)
    try:
        try:
            os.mkdir(name, mode, dir_fd=parent_fd)
        except FileExistsError:
            # Another start may have made it (a shared volume); a dangling link fails here with ELOOP or ENOENT.
            pass
        return openat2(parent_fd, name, flags | os.O_NOFOLLOW, resolve=BENEATH | NO_SYMLINKS)
    finally:
        os.close(parent_fd)


def make_file(root_fd: int, path: str, mode: int = 0o644) -> int:
    """Open the file `path` beneath `root_fd` (O_PATH), whatever its type; if it is missing make an empty one."""
    try:
        return open_in_root(root_fd, path, os.O_PATH)
    except FileNotFoundError:
        pass
    parent, name = _split(path)
    parent_fd = make_directory(root_fd, parent)
    try:
        try:
            os.mknod(name, stat.S_IFREG | mode, dir_fd=parent_fd)
        except FileExistsError:
            pass
        return openat2(parent_fd, name, os.O_PATH | os.O_NOFOLLOW, resolve=BENEATH | NO_SYMLINKS)
    finally:
        os.close(parent_fd)


def open_regular(root_fd: int, path: str, proc_fds: int) -> int:
    """Open the regular file `path` beneath `root_fd` for reading; nothing else is ever opened (a FIFO would block).

    `proc_fds` is a descriptor of ``/proc/self/fd`` of the host's procfs, through which the O_PATH descriptor is
    opened. Raises `OSError` (EINVAL if it is not a regular file).
    """
    path_fd = open_in_root(root_fd, path, os.O_PATH)
    try:
        if not stat.S_ISREG(os.fstat(path_fd).st_mode):
            raise OSError(22, "not a regular file", path)
        return os.open(str(path_fd), os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc_fds)
    finally:
        os.close(path_fd)


def _split(path: str) -> tuple[str, str]:
    parent, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise OSError(22, "not a name", path)
    return parent, name
