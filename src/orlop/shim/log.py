"""The journal of a container's output: written record by record as it is read, bounded by rotation.

A write is one pwritev(2) of header and payload at an offset of our own; what a crash or a full disk left behind the
last whole record is overwritten. The disk never stops a container: what cannot be written is dropped and counted, and
writing goes on when there is room again. A `Cursor` reads the same files for clients that replay or have fallen
behind; it keeps its file open, so rotation never takes away what it is reading.
"""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import suppress

from orlop.formats import journal
from orlop.formats.journal import file_name, pack_header, record_size, spans

__all__ = ["Cursor", "Journal", "prepare"]

_END_MARK = "end"  # holds the size of a journal that was closed in good order: no need to look for its last record
_BLOCK = 256 << 10
_LONGEST = journal.HEADER.size + journal.MAX_PAYLOAD
_MODE = 0o640
_NO_LIMIT = 1 << 62
_NEXT = "journal.next"  # an empty file that is about to become the newest


def prepare(directory: str) -> None:
    """See that a journal can be written in `directory`. Raises `OSError`: a full disk is told before the start."""
    os.makedirs(directory, 0o700, exist_ok=True)
    os.close(os.open(f"{directory}/{file_name(0)}", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE))


class Journal:
    """The writer. `dropped` counts the bytes that could not be written."""

    def __init__(self, directory: str, max_bytes: int, max_files: int) -> None:
        """Go on with what is in `directory`, which is made if it is missing; no bytes are no limit.

        Raises `OSError`.
        """
        os.makedirs(directory, 0o700, exist_ok=True)
        self._directory = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._max_bytes = max_bytes if max_bytes > 0 else _NO_LIMIT
        self._overflow = 2 * self._max_bytes
        self._max_files = max(1, max_files)
        self._fd = self._open_current()
        self._offset = self._find_end()
        self._sequence = 0  # how often this writer has rotated
        self.dropped = 0

    def write(self, stream: int, data: bytes) -> bool:
        """Append a record; say whether it is in the journal now."""
        size = journal.HEADER.size + len(data)
        try:
            if self._is_full(size) and not self._rotate() and self._offset + size > self._overflow:
                return self._drop(len(data))
            written = os.pwritev(self._fd, (pack_header(stream, time.time_ns(), len(data)), data), self._offset)
        except OSError:
            written = 0
        if written == size:
            self._offset += size
            return True
        if written:
            self._cut()
        return self._drop(len(data))

    def reopen(self) -> None:
        """Open the files anew: someone else has moved or removed them."""
        fd = self._open_current()
        os.close(self._fd)
        self._fd = fd
        self._offset = self._find_end()
        self._sequence += 1

    def close(self) -> None:
        """Write down that the journal is whole, and close it."""
        with suppress(OSError):  # a full disk: the next writer looks for the end itself
            with open(self._open(_END_MARK, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as mark:
                mark.write(b"%d" % self._offset)
        os.close(self._fd)
        os.close(self._directory)

    def cursor_at_end(self) -> Cursor:
        """Return a cursor that reads what is written from now on."""
        return Cursor(self, [os.dup(self._fd)], self._sequence, self._offset)

    def cursor_at_start(self) -> Cursor:
        """Return a cursor that reads all there is, and then what is written from now on."""
        older = []
        for number in range(self._max_files - 1, 0, -1):
            try:
                older.append(self._open(file_name(number), os.O_RDONLY))
            except FileNotFoundError:
                continue
        files = [*older, os.dup(self._fd)]
        return Cursor(self, files, self._sequence - len(older), 0)

    def rotates_away(self, cursor: Cursor, size: int) -> bool:
        """Say whether a record of `size` bytes more would remove a file that `cursor` still has to open."""
        if self._offset + journal.HEADER.size + size <= self._max_bytes:
            return False
        return cursor.newest_open <= self._sequence - self._max_files

    def open_sequence(self, sequence: int) -> int | None:
        """Open the file that is, or was, current after `sequence` rotations; None if it is gone."""
        try:
            return self._open(file_name(self._sequence - sequence), os.O_RDONLY)
        except FileNotFoundError:
            return None

    @property
    def position(self) -> tuple[int, int]:
        """The file that is written (its number in the row) and where the next record goes."""
        return self._sequence, self._offset

    def _is_full(self, size: int) -> bool:
        return self._offset > 0 and self._offset + size > self._max_bytes

    def _drop(self, size: int) -> bool:
        self.dropped += size
        return False

    def _rotate(self) -> bool:
        """Begin a new file in place of the present one; False if none can be made.

        The new file is there before an old one moves, and renames need no room: what fails costs no history.
        """
        try:
            fd = self._open(_NEXT, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        except OSError:
            return False
        try:
            for number in range(self._max_files - 1, 0, -1):
                with suppress(FileNotFoundError):
                    self._rename(file_name(number - 1), file_name(number))
            self._rename(_NEXT, file_name(0))
        except OSError:
            os.close(fd)
            return False
        os.close(self._fd)
        self._fd, self._offset = fd, 0
        self._sequence += 1
        return True

    def _rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._directory, dst_dir_fd=self._directory)

    def _open_current(self) -> int:
        return self._open(file_name(0), os.O_RDWR | os.O_CREAT)

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE, dir_fd=self._directory)

    def _find_end(self) -> int:
        size = os.fstat(self._fd).st_size
        if not size:
            return 0
        try:
            mark = self._open(_END_MARK, os.O_RDONLY)
        except FileNotFoundError:
            return self._scan(size)
        with open(mark, "rb") as file:
            closed_at = file.read(20)
        os.unlink(_END_MARK, dir_fd=self._directory)
        return size if closed_at == b"%d" % size else self._scan(size)

    def _scan(self, size: int) -> int:
        """Return where the last whole record ends, and cut off what follows."""
        offset = 0
        while offset < size:
            block = os.pread(self._fd, _BLOCK, offset)
            consumed = spans(block)[1] or _size_of_record(block)
            if not consumed or offset + consumed > size:
                break
            offset += consumed
        if offset < size:
            os.ftruncate(self._fd, offset)
        return offset

    def _cut(self) -> None:
        """Take back a record that was written in part. Readers stop in front of it anyway."""
        with suppress(OSError):  # the next record overwrites it
            os.ftruncate(self._fd, self._offset)


class Cursor:
    """A place in the journal from which a client is served, in whole records."""

    __slots__ = ("_files", "_journal", "_offset", "_sequence")

    def __init__(self, writer: Journal, files: list[int], sequence: int, offset: int) -> None:
        """Read from `offset` of the first of `files`, which is number `sequence` in the row of files."""
        self._journal = writer
        self._files = deque(files)
        self._sequence = sequence
        self._offset = offset

    @property
    def newest_open(self) -> int:
        """The number in the row of files of the newest that is open."""
        return self._sequence + len(self._files) - 1

    def read(self) -> bytes:
        """Return the next whole records, as they stand in the file; b"" when all that was written has been read."""
        while self._files:
            block = self._block()
            if block:
                self._offset += len(block)
                return block
            if self._sequence == self._journal.position[0]:
                break
            self._next_file()
        return b""

    def pin(self) -> None:
        """Open all files that are left, for a journal that nobody holds still any more."""
        newest = self._journal.position[0]
        while self.newest_open < newest:
            fd = self._journal.open_sequence(self.newest_open + 1)
            if fd is None:
                return
            self._files.append(fd)

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popleft())

    def _block(self) -> bytes:
        """Return the whole records at the present place of the present file; b"" if there is none."""
        sequence, end = self._journal.position
        left = end - self._offset if self._sequence == sequence else _LONGEST
        block = os.pread(self._files[0], min(_BLOCK, left), self._offset)
        consumed = spans(block)[1]
        if not consumed and (size := _size_of_record(block)) <= left:
            block = os.pread(self._files[0], size, self._offset)
            consumed = spans(block)[1]
        return block[:consumed]

    def _next_file(self) -> None:
        """Go on with the file after this one, or with the oldest that is left if that is gone."""
        os.close(self._files.popleft())
        self._offset = 0
        self._sequence += 1
        while not self._files and self._sequence <= self._journal.position[0]:
            fd = self._journal.open_sequence(self._sequence)
            if fd is not None:
                self._files.append(fd)
            else:
                self._sequence += 1


def _size_of_record(block: bytes) -> int:
    """Return the size of the record that starts here, 0 if none does."""
    try:
        return record_size(block)
    except journal.DamagedJournal:
        return 0
