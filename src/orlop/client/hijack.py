"""Connections that became raw streams: attach and exec start. `orlop.formats.stream` takes their frames apart."""

from __future__ import annotations

import socket

from orlop.client.transport import Channel

__all__ = ["Hijacked"]


class Hijacked:
    """A raw stream to a container's process.

    `leftover` arrived together with the head of the answer and comes before everything that `recv` returns.
    """

    def __init__(self, stream: Channel, leftover: bytes, *, multiplexed: bool) -> None:
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
        return bool(self._leftover) or (not isinstance(self._stream, socket.socket) and self._stream.pending())

    def send(self, data: bytes) -> int:
        """Send what can be sent without waiting and return how much that was.

        Who waited here while the other side waits for its output to be read would wait for ever.
        """
        try:
            if isinstance(self._stream, socket.socket):
                return self._stream.send(data, socket.MSG_DONTWAIT)
            return self._stream.send_some(data)
        except BlockingIOError:
            return 0

    def unsent(self) -> bool:
        """Say whether something that `send` took still waits; to send nothing goes on with it."""
        return not isinstance(self._stream, socket.socket) and self._stream.unsent()

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
