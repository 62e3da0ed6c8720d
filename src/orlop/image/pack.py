"""Packing: the files of a tree become entries of an archive, as `docker export` and layers have them.

Kept are type, owner, mode, whole seconds of the time, link targets, hard links, device numbers and, of the extended
attributes, ``security.capability`` alone. Sockets are left out, holes are written as zeros.

The tree may be a running container's. Each file is opened without following anything and looked at again; what it is
then counts. The caller sees to it that no device can be opened: the mount that the tree is seen by is ``nodev``.
"""

from __future__ import annotations

import errno
import os
import stat

from orlop.formats.tar.entry import Entry, Kind
from orlop.formats.tar.output import TarOutput
from orlop.image.walk import GONE

__all__ = ["Packer", "capability", "kind_of"]

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_BLOCK = 1 << 20
_OTHER_NOW = (*GONE, errno.EACCES, errno.ENXIO, errno.ENODEV, errno.EISDIR)
"""What opening says of a file that has become a link, a device or a socket since it was seen."""

_CAPABILITY = "security.capability"
_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHAR,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
}


def kind_of(status: os.stat_result) -> Kind:
    """Return what a file is; a socket is `Kind.OTHER`, which no archive has."""
    return _KINDS.get(stat.S_IFMT(status.st_mode), Kind.OTHER)


def capability(path: int | str) -> bytes:
    """Return the value of ``security.capability`` of an open file (or a path), b"" if there is none."""
    try:
        return os.getxattr(path, _CAPABILITY)
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise
        return b""


class Packer:
    """Writes the files of one tree to an archive; what is younger than `latest` (seconds) gets that time."""

    def __init__(self, output: TarOutput, latest: int | None = None) -> None:
        self._output = output
        self._latest = latest
        self._first: dict[tuple[int, int], str] = {}  # inode → path of its first name

    def add(self, path: str, directory: int, name: str, status: os.stat_result) -> bool:
        """Write the file `name` of an open directory as `path`; False if it is gone, or nothing that is archived.

        Raises `OSError`.
        """
        kind = kind_of(status)
        if kind is Kind.OTHER:
            return False
        if kind is not Kind.DIRECTORY and status.st_nlink > 1:
            first = self._first.get((status.st_dev, status.st_ino))
            if first is not None:
                self._output.add(self._entry(first, path, Kind.LINK, status))
                return True
        if kind is Kind.FILE:
            return self._add_file(path, directory, name)
        entry = self._entry("", path, kind, status)
        if kind is Kind.SYMLINK:
            try:
                entry.linkname = os.readlink(name, dir_fd=directory)
            except OSError as error:
                if error.errno not in (*GONE, errno.EINVAL):
                    raise
                return False
        self._output.add(entry)
        self._note(path, kind, status)
        return True

    def _add_file(self, path: str, directory: int, name: str) -> bool:
        try:
            fd = os.open(name, _OPEN, dir_fd=directory)
        except OSError as error:
            if error.errno not in _OTHER_NOW:
                raise
            return False
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return False
            entry = self._entry("", path, Kind.FILE, status)
            entry.size = status.st_size
            value = capability(fd)
            if value:
                entry.xattrs[_CAPABILITY] = value
            self._output.begin(entry)
            self._copy(fd, status)
            self._output.end()
            self._note(path, Kind.FILE, status)
            return True
        finally:
            os.close(fd)

    def _entry(self, target: str, path: str, kind: Kind, status: os.stat_result) -> Entry:
        seconds = status.st_mtime_ns // 10**9
        entry = Entry(
            name=path,
            kind=kind,
            mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
            mtime=(seconds if self._latest is None else min(seconds, self._latest)) * 10**9,
            linkname=target,
        )
        if kind in (Kind.CHAR, Kind.BLOCK):
            entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        return entry

    def _note(self, path: str, kind: Kind, status: os.stat_result) -> None:
        if kind is not Kind.DIRECTORY and status.st_nlink > 1:
            self._first.setdefault((status.st_dev, status.st_ino), path)

    def _copy(self, fd: int, status: os.stat_result) -> None:
        if status.st_blocks * 512 >= status.st_size:
            self._copy_data(fd, status.st_size)
            return
        position = 0
        while position < status.st_size:
            start, end = _next_data(fd, position, status.st_size)
            self._output.skip(start - position)
            os.lseek(fd, start, os.SEEK_SET)
            self._copy_data(fd, end - start)
            position = end

    def _copy_data(self, fd: int, count: int) -> None:
        while count:
            block = os.read(fd, min(count, _BLOCK))
            if not block:
                self._output.skip(count)  # it shrank
                return
            self._output.append(block)
            count -= len(block)


def _next_data(fd: int, position: int, size: int) -> tuple[int, int]:
    """Return where the next data of a file with holes starts and ends, within the `size` that it had."""
    try:
        start = os.lseek(fd, position, os.SEEK_DATA)
        end = os.lseek(fd, start, os.SEEK_HOLE)
    except OSError as error:
        if error.errno != errno.ENXIO:  # nothing but a hole is left
            raise
        return size, size
    return min(start, size), min(end, size)
