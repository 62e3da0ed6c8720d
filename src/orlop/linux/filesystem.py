"""Whole file systems, names that change places, flags of inodes: syncfs(2), renameat2(2), ioctl_iflags(2)."""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import stat

from orlop.linux.syscall import AT_FDCWD, function

__all__ = ["clear_protection", "exchange", "syncfs"]

_syncfs = function("syncfs", ctypes.c_int)
_renameat2 = function("renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_RENAME_EXCHANGE = 2
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS
_PROTECTED = 0x10 | 0x20  # FS_IMMUTABLE_FL, FS_APPEND_FL


def syncfs(fd: int) -> None:
    """Write the whole file system that `fd` is on to its disk. Raises `OSError`."""
    _syncfs(fd)


def exchange(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> None:
    """Let two names of one file system change places, at once. Raises `OSError`."""
    _renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)


def clear_protection(name: str, directory: int | None = None) -> None:
    """Take the immutable and append-only flags off a file or directory, so that it can be removed.

    Nothing happens to what cannot have them. Raises `OSError`.
    """
    mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        flags = array.array("i", [0, 0])  # the kernel reads and writes an int, whatever the ioctl's number says
        fcntl.ioctl(fd, _GET_FLAGS, flags)
        if flags[0] & _PROTECTED:
            flags[0] &= ~_PROTECTED
            fcntl.ioctl(fd, _SET_FLAGS, flags)
    finally:
        os.close(fd)
