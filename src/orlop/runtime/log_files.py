"""The files of a log journal as one stream of blocks, oldest first, while its writer goes on and rotates them.

An open file keeps its place when it is renamed, and the writer is done with a file when it renames it: so a reader
that is at the end of the newest file it knows, and finds another inode under its name, reads to the end once more and
goes on with the files behind it. Blocking; used in threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from orlop.formats import journal

__all__ = ["BLOCK", "LogFile", "LogFiles"]

BLOCK = 512 << 10


@dataclass(slots=True)
class LogFile:
    """An open file of the journal; `position` is the first byte that was not taken yet."""

    fd: int
    inode: int
    modified: int  # ns
    size: int  # when it was opened
    position: int = 0

    def read(self, position: int, end: int) -> bytes:
        """Return what stands at `position`: a block of it, or one record if that is longer.

        b"" if there is nothing whole in front of `end`. Raises `journal.DamagedJournal`.
        """
        data = os.pread(self.fd, min(BLOCK, max(0, end - position)), position)
        size = journal.record_size(data)
        if len(data) < size <= end - position:
            data = os.pread(self.fd, size, position)
        return data if 0 < size <= len(data) else b""


class LogFiles:
    """The journal in `directory` (it need not be there yet)."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.files = _open_all(directory)

    def close(self) -> None:
        """Close all files."""
        for file in self.files:
            os.close(file.fd)
        self.files = []

    def drop(self, file: LogFile) -> None:
        """Be done with `file`."""
        self.files.remove(file)
        os.close(file.fd)

    def extend(self) -> bool:
        """Open the files that are newer than those known; return whether there are any."""
        newest = self.files[-1].inode if self.files else None
        if newest is not None and newest == self._inode_of_newest():
            return False
        found = _open_all(self._directory)
        known = [index for index, file in enumerate(found) if file.inode == newest]
        for file in found[: known[0] + 1] if known else []:
            os.close(file.fd)
        newer = found[known[0] + 1 :] if known else found
        self.files += newer
        return bool(newer)

    def _inode_of_newest(self) -> int | None:
        try:
            return os.stat(os.path.join(self._directory, journal.file_name(0))).st_ino
        except FileNotFoundError:  # in the middle of a rotation, or never written to
            return None


def _open_all(directory: str) -> list[LogFile]:
    """Open all files, oldest first. A rotation meanwhile moves files to where they are met (again) a step later."""
    found: list[LogFile] = []
    try:
        for number in _rotations(directory):
            try:
                fd = os.open(os.path.join(directory, journal.file_name(number)), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            status = os.fstat(fd)
            if any(file.inode == status.st_ino for file in found):
                os.close(fd)
            else:
                found.insert(0, LogFile(fd, status.st_ino, status.st_mtime_ns, status.st_size))
    except BaseException:
        for file in found:
            os.close(file.fd)
        raise
    return found


def _rotations(directory: str) -> Iterator[int]:
    """Yield the numbers at which a file may be, newest first, with room for rotations that happen meanwhile."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    numbers = [int(name[8:]) for name in names if name.startswith("journal.") and name[8:].isdecimal()]
    yield from range(max(numbers, default=0) + 3)
