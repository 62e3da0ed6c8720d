"""Connections that became raw streams: attach and exec. Frames are taken apart here, bytes are moved by the caller."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from orlop.client.transport import Stream
from orlop.errors import Error

__all__ = ["STDERR", "STDIN", "STDOUT", "SYSTEM_ERROR", "FrameReader", "Hijacked"]

STDIN, STDOUT, STDERR, SYSTEM_ERROR = range(4)
_HEADER = 8


class FrameReader:
    """Takes Docker's attach frames apart, in whatever pieces they arrive.

    A frame is one byte for the stream, three zeros, the payload's length in four bytes (big-endian) and the payload.
    Payloads are passed on as they come, never collected.
    """

    def __init__(self) -> None:
        self._header = b""
        self._stream = STDOUT
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (stream, bytes) for what `data` completes; raise `Error` for a stream number that does not exist."""
        position = 0
        while position < len(data):
            if self._left:
                piece = data[position : position + self._left]
                self._left -= len(piece)
                position += len(piece)
                yield self._stream, piece
                continue
            take = data[position : position + _HEADER - len(self._header)]
            self._header += take
            position += len(take)
            if len(self._header) == _HEADER:
                self._stream = self._header[0]
                self._left = int.from_bytes(self._header[4:], "big")
                self._header = b""
                if self._stream > SYSTEM_ERROR:
                    raise Error(f"Unrecognized input header: {self._stream}")


class Hijacked:
    """A raw stream to a container's process.

    `leftover` arrived together with the head of the answer and comes before everything that `recv` returns.
    """

    def __init__(self, stream: Stream, leftover: bytes, *, multiplexed: bool) -> None:
        self._stream = stream
        self._leftover = leftover
        self.multiplexed = multiplexed

    def recv(self, size: int) -> bytes:
        """Return the next bytes; empty at the end."""
        if self._leftover:
            data, self._leftover = self._leftover, b""
            return data
        try:
            return self._stream.recv(size)
        except ConnectionResetError:
            return b""

    def pending(self) -> bool:
        """Say whether bytes wait here that the descriptor does not announce."""
        inner = getattr(self._stream, "pending", None)
        return bool(self._leftover) or (inner is not None and inner())

    def sendall(self, data: bytes) -> None:
        self._stream.sendall(data)

    def close_write(self) -> None:
        """Tell the other side that no more input comes, and go on reading."""
        try:
            self._stream.shutdown(socket.SHUT_WR)
        except OSError:  # it has closed already, which says the same
            pass

    def fileno(self) -> int:
        return self._stream.fileno()

    def close(self) -> None:
        self._stream.close()
