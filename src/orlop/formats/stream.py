"""The frames of an attached connection: several streams on one socket (Engine API, "Stream format").

A frame is a header of 8 bytes (stream number, three zero bytes, length as a big-endian 32-bit number) and its payload.
A connection of a terminal has no frames.
"""

from __future__ import annotations

import struct

__all__ = ["HEADER", "STDERR", "STDIN", "STDOUT", "SYSTEM_ERROR", "FrameError", "Parser", "frame", "pack_header"]

STDIN = 0
STDOUT = 1
STDERR = 2
SYSTEM_ERROR = 3
HEADER = struct.Struct(">BxxxI")


class FrameError(Exception):
    """The peer sends something that is no frame."""


def pack_header(stream: int, length: int) -> bytes:
    """Return the header of a frame with `length` bytes."""
    return HEADER.pack(stream, length)


def frame(stream: int, payload: bytes) -> bytes:
    """Return a whole frame.

    >>> frame(STDOUT, b"hi")
    b'\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x02hi'
    """
    return HEADER.pack(stream, len(payload)) + payload


class Parser:
    """Cuts a stream of bytes into pieces of payload, without waiting for a frame to be whole.

    >>> Parser().feed(frame(STDOUT, b"hi") + frame(STDERR, b"oh"))
    [(1, b'hi'), (2, b'oh')]
    """

    def __init__(self) -> None:
        self._head = bytearray()
        self._stream = STDOUT
        self._left = 0

    @property
    def between_frames(self) -> bool:
        """Whether the bytes so far end where a frame ends."""
        return not self._head and not self._left

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take what arrived; return (stream, bytes) pieces in order, none of them empty. Raises `FrameError`."""
        pieces = []
        offset = 0
        while offset < len(data):
            if self._left:
                piece = data[offset : offset + self._left]
                pieces.append((self._stream, piece))
                offset += len(piece)
                self._left -= len(piece)
                continue
            wanted = HEADER.size - len(self._head)
            self._head += data[offset : offset + wanted]
            offset += wanted
            if len(self._head) == HEADER.size:
                self._begin()
        return pieces

    def _begin(self) -> None:
        if self._head[0] > SYSTEM_ERROR or self._head[1:4] != b"\0\0\0":
            raise FrameError(f"not the header of a frame: {bytes(self._head)!r}")
        self._stream, self._left = HEADER.unpack(self._head)
        self._head.clear()
