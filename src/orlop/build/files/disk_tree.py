"""A tree on a disk: the merged layers of a file system, or a directory. Links are followed inside it by the kernel."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Sequence

from orlop.build.files.trees import Found
from orlop.formats.tar.entry import Kind
from orlop.image.pack import capability, kind_of
from orlop.image.walk import GONE, open_beneath
from orlop.linux.openat2 import open_in_root

__all__ = ["DiskTree"]

_BLOCK = 1 << 20
_PATH = os.O_PATH | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


class DiskTree:
    """The tree below the open directory `root`, which the caller keeps open and on which no device can be opened."""

    def __init__(self, root: int, *, has_owners: bool) -> None:
        self.has_owners = has_owners
        self._root = root

    def look(self, path: str) -> Found | None:
        try:
            fd = open_beneath(self._root, path, _PATH) if path else os.dup(self._root)
        except OSError as error:
            if error.errno not in (*GONE, errno.ENAMETOOLONG):
                raise
            return None
        try:
            return self._found(path, fd)
        finally:
            os.close(fd)

    def resolve(self, path: str) -> str | None:
        try:
            fd = open_in_root(self._root, path or "/", os.O_PATH)
        except OSError as error:
            if error.errno not in (*GONE, errno.ENAMETOOLONG):
                raise
            return None
        try:
            return os.readlink(f"/proc/self/fd/{fd}").lstrip("/")
        finally:
            os.close(fd)

    def names(self, path: str) -> Sequence[str]:
        fd = open_beneath(self._root, path or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def open(self, found: Found) -> int:
        return open_beneath(self._root, found.path, _READ)

    def digest(self, found: Found) -> str:
        fd = self.open(found)
        try:
            digest = hashlib.sha256()
            while block := os.read(fd, _BLOCK):
                digest.update(block)
            return f"sha256:{digest.hexdigest()}"
        finally:
            os.close(fd)

    def _found(self, path: str, fd: int) -> Found:
        status = os.fstat(fd)
        kind = kind_of(status)
        return Found(
            path,
            kind,
            stat.S_IMODE(status.st_mode),
            uid=status.st_uid if self.has_owners else 0,
            gid=status.st_gid if self.has_owners else 0,
            size=status.st_size if kind is Kind.FILE else 0,
            mtime=status.st_mtime_ns,
            target=os.readlink("", dir_fd=fd) if kind is Kind.SYMLINK else "",
            major=os.major(status.st_rdev) if kind in (Kind.CHAR, Kind.BLOCK) else 0,
            minor=os.minor(status.st_rdev) if kind in (Kind.CHAR, Kind.BLOCK) else 0,
            capability=capability(f"/proc/self/fd/{fd}") if kind is Kind.FILE else b"",
            inode=(status.st_dev, status.st_ino) if status.st_nlink > 1 and kind is not Kind.DIRECTORY else None,
        )
