"""Whole file systems, names that change places, flags of inodes: syncfs(2), renameat2(2), ioctl_iflags(2)."""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import stat

from orlop.linux.syscall import AT_FDCWD, function

__all__ = ["clear_protection", "exchange", "spread", "syncfs"]

_syncfs = function("syncfs", ctypes.c_int)
_renameat2 = function("renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_RENAME_EXCHANGE = 2
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS
_PROTECTED = 0x10 | 0x20  # FS_IMMUTABLE_FL, FS_APPEND_FL
_TOP_OF_TREES = 0x20000  # FS_TOPDIR_FL
_NO_FLAGS = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.EACCES)


def syncfs(fd: int) -> None:
    """Write the whole file system that `fd` is on to its disk. Raises `OSError`."""
    _syncfs(fd)


def exchange(first: str | os.PathLike[str], second: str | os.PathLike[str]) -> None:
    """Let two names of one file system change places, at once. Raises `OSError`."""
    _renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)


def spread(directory: str | os.PathLike[str]) -> bool:
    """Say that the directories in this one have nothing to do with each other, so that ext4 puts them far apart.

    Near where many files were removed lately, ext4 is slow to make new ones: it does not give away a removed file's
    inode for a minute, and looks at each of them again for every file. Returns
    False where the file system knows no such flag; that does no harm.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = array.array("i", [0, 0])
        fcntl.ioctl(fd, _GET_FLAGS, flags)
        if not flags[0] & _TOP_OF_TREES:
            flags[0] |= _TOP_OF_TREES
            fcntl.ioctl(fd, _SET_FLAGS, flags)
    except OSError as error:
        if error.errno not in _NO_FLAGS:
            raise
        return False
    finally:
        os.close(fd)
    return True


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
