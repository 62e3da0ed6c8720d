"""Comparing two trees that should be the same: names, types, modes, owners, times, links, attributes and contents."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from orlop.image.attributes import IMPLIED_ROOT, OPAQUE_XATTR
from orlop.linux.openat2 import NO_SYMLINKS, open_in_root

__all__ = ["differences"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_BLOCK = 1 << 20
_OURS = (OPAQUE_XATTR, IMPLIED_ROOT, "security.capability")
"""Attributes that a layer has beside those of users and access lists; the others are the host's."""


def differences(expected: int, actual: int, *, times_of_directories: bool = True) -> Iterator[str]:
    """Yield a line for each way in which the tree at the descriptor `actual` is not as `expected`.

    Whiteouts are compared as such: they have no attributes. Raises `OSError`.
    """
    comparison = _Comparison(times_of_directories)
    yield from comparison.attributes("", os.fstat(expected), os.fstat(actual), expected, actual, ".")
    pending = [""]
    while pending:
        path = pending.pop()
        first, second = (_open(root, path) for root in (expected, actual))
        try:
            for line, directory in comparison.directory(path, first, second):
                if line:
                    yield line
                if directory:
                    pending.append(directory)
        finally:
            os.close(first)
            os.close(second)


class _Comparison:
    def __init__(self, times_of_directories: bool) -> None:
        self._times_of_directories = times_of_directories
        self._links: dict[tuple[int, int], tuple[int, int]] = {}  # inodes with several names: here and there

    def directory(self, path: str, expected: int, actual: int) -> Iterator[tuple[str, str]]:
        """Yield the differences in one directory, and the directories in it that both have."""
        here, there = set(os.listdir(expected)), set(os.listdir(actual))
        for name in sorted(here | there):
            shown = f"{path}/{name}" if path else name
            if name not in there:
                yield f"{shown}: is missing", ""
                continue
            if name not in here:
                yield f"{shown}: does not belong there", ""
                continue
            first, second = (os.stat(name, dir_fd=fd, follow_symlinks=False) for fd in (expected, actual))
            for line in self.attributes(shown, first, second, expected, actual, name):
                yield line, ""
            if stat.S_ISDIR(first.st_mode) and stat.S_ISDIR(second.st_mode):
                yield "", shown

    def attributes(
        self, path: str, first: os.stat_result, second: os.stat_result, expected: int, actual: int, name: str
    ) -> Iterator[str]:
        """Yield the differences between the two things that `name` is in the two directories."""
        shown = path or "/"
        kinds = [stat.S_IFMT(status.st_mode) for status in (first, second)]
        if kinds[0] != kinds[1]:
            yield f"{shown}: is a {_kind(second)} instead of a {_kind(first)}"
            return
        if first.st_rdev != second.st_rdev:
            yield f"{shown}: another device"
        if stat.S_ISCHR(first.st_mode) and first.st_rdev == 0:
            return
        if first.st_mode != second.st_mode:
            yield f"{shown}: mode {stat.S_IMODE(second.st_mode):04o} instead of {stat.S_IMODE(first.st_mode):04o}"
        if (first.st_uid, first.st_gid) != (second.st_uid, second.st_gid):
            yield f"{shown}: owner {second.st_uid}:{second.st_gid} instead of {first.st_uid}:{first.st_gid}"
        timeless = stat.S_ISDIR(first.st_mode) and not self._times_of_directories
        if first.st_mtime_ns != second.st_mtime_ns and not timeless:
            yield f"{shown}: another modification time"
        if _xattrs(expected, name) != _xattrs(actual, name):
            yield f"{shown}: other extended attributes"
        if stat.S_ISLNK(first.st_mode):
            if os.readlink(name, dir_fd=expected) != os.readlink(name, dir_fd=actual):
                yield f"{shown}: leads elsewhere"
        elif stat.S_ISREG(first.st_mode):
            if not self._same_links(first, second):
                yield f"{shown}: other hard links"
            if first.st_size != second.st_size:
                yield f"{shown}: {second.st_size} bytes instead of {first.st_size}"
            elif problem := _contents(expected, actual, name):
                yield f"{shown}: {problem}"

    def _same_links(self, first: os.stat_result, second: os.stat_result) -> bool:
        if first.st_nlink == 1 and second.st_nlink == 1:
            return True
        here, there = ((status.st_dev, status.st_ino) for status in (first, second))
        return first.st_nlink == second.st_nlink and self._links.setdefault(here, there) == there


def _open(root: int, path: str) -> int:
    return open_in_root(root, path or "/", _DIRECTORY, resolve=NO_SYMLINKS)


def _xattrs(directory: int, name: str) -> dict[str, bytes]:
    path = f"/proc/self/fd/{directory}/{name}"
    return {
        key: os.getxattr(path, key, follow_symlinks=False)
        for key in os.listxattr(path, follow_symlinks=False)
        if key in _OURS or key.startswith(("user.", "system.posix_acl_"))
    }


def _contents(expected: int, actual: int, name: str) -> str:
    """Compare the bytes of two files; return what is wrong with the second, "" for nothing."""
    first = os.open(name, _FILE, dir_fd=expected)
    try:
        second = os.open(name, _FILE, dir_fd=actual)
        try:
            while block := os.read(first, _BLOCK):
                try:
                    other = os.read(second, len(block))
                except OSError as error:
                    if error.errno != errno.EIO:
                        raise
                    return "cannot be read"
                if other != block:
                    return "other contents"
        finally:
            os.close(second)
    finally:
        os.close(first)
    return ""


def _kind(status: os.stat_result) -> str:
    names = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "fifo"}
    return names.get(stat.S_IFMT(status.st_mode), "device or socket")
