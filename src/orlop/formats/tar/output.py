"""An archive as a stream of blocks: entries and bodies in, pieces of a useful size out.

Whatever is given, the result is well formed: a body that is longer than its entry says is cut off there, a shorter one
is filled up with zeros. Files that change while they are read need that.
"""

from __future__ import annotations

from collections.abc import Callable

from orlop.formats.tar.entry import Entry
from orlop.formats.tar.header import padded
from orlop.formats.tar.writer import END, encode

__all__ = ["PIECE", "TarOutput", "Write"]

Write = Callable[[bytes], None]

PIECE = 256 << 10
"""Bytes that a piece has, about: many small files make one, a large block goes out as it is."""

_ZEROS = bytes(PIECE)


class TarOutput:
    """Gives the archive to `write` piece by piece."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._parts: list[bytes] = []
        self._waiting = 0
        self._left = 0  # bytes that the present body still wants
        self._padding = 0

    def add(self, entry: Entry, body: bytes = b"") -> None:
        """Write an entry with its whole body, if it has one."""
        self.begin(entry)
        self.append(body)
        self.end()

    def begin(self, entry: Entry) -> None:
        """Write the header of an entry; `append` its body of `entry.size` bytes, then `end` it."""
        self._put(encode(entry))
        self._left = entry.size
        self._padding = padded(entry.size) - entry.size

    def append(self, block: bytes) -> None:
        """Write the next bytes of the body."""
        if len(block) > self._left:
            block = block[: self._left]
        self._left -= len(block)
        self._put(block)

    def skip(self, count: int) -> None:
        """Write `count` zeros of the body: what a hole holds."""
        count = min(count, self._left)
        while count:
            step = min(count, PIECE)
            self.append(_ZEROS if step == PIECE else bytes(step))
            count -= step

    def end(self) -> None:
        """Complete the present body."""
        self.skip(self._left)
        self._put(bytes(self._padding))
        self._padding = 0

    def finish(self) -> None:
        """Write the end mark and what is still held back."""
        self._put(END)
        self._flush()

    def _put(self, block: bytes) -> None:
        if len(block) >= PIECE:
            self._flush()
            self._write(block)
        elif block:
            self._parts.append(block)
            self._waiting += len(block)
            if self._waiting >= PIECE:
                self._flush()

    def _flush(self) -> None:
        if self._parts:
            self._write(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
            self._parts.clear()
            self._waiting = 0
