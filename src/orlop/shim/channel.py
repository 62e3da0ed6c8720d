"""A conversation in `orlop.formats.shim_wire` messages on a stream socket, without ever waiting for the peer."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable

from orlop.formats.shim_wire import Decoder, Message, WireError, encode
from orlop.linux import descriptors
from orlop.shim.loop import HANGUP, READ, WRITE, Loop

__all__ = ["Channel"]

_READ_SIZE = 64 << 10
_MAX_QUEUED = 4 << 20  # bytes for a peer that does not read; more and it is given up
_RELEASE_SECONDS = 5.0
_MAX_FDS = descriptors.MAX_PER_MESSAGE


class Channel:
    """One peer. `on_message` gets each message with its descriptors, which are the receiver's then.

    `on_close` is called once, when the peer has ended the conversation or broken its rules; the socket is closed.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_message: Callable[[Channel, Message, list[int]], None],
        on_close: Callable[[Channel], None],
    ) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._on_message = on_message
        self._on_close = on_close
        self._decoder = Decoder()
        self._queue: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._queued = 0
        self.closed = False
        loop.add(sock.fileno(), READ, self._ready)

    def send(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        """Send a message, now or as soon as the peer reads. `fds` are only borrowed and must go at once.

        A message with descriptors that cannot go at once closes the channel: nobody here keeps duplicates.
        """
        if self.closed:
            return
        view = memoryview(encode(message, len(fds)))
        if not self._queue:
            view, fds = self._write(view, fds)
        if self.closed or not view:
            return
        self._queued += len(view)
        if fds or self._queued > _MAX_QUEUED:
            self.close()
            return
        self._queue.append((view, fds))
        self._loop.modify(self._sock.fileno(), READ | WRITE)

    def release(self) -> tuple[int, bytes, list[int]] | None:
        """Give the conversation to another process: its socket, and what has come of a message that is not whole.

        What is queued is sent first; None if the peer does not take it. Nothing is closed and nobody is told.
        """
        sock, queue = self._sock, self._queue
        self._loop.remove(sock.fileno())
        self.closed = True
        try:
            sock.settimeout(_RELEASE_SECONDS)
            for view, fds in queue:
                sent = descriptors.send(sock, view, fds)
                sock.sendall(view[sent:])
        except OSError:
            sock.close()
            return None
        return sock.detach(), self._decoder.rest, self._decoder.abandoned()

    def resume(self, rest: bytes, fds: list[int]) -> None:
        """Go on where another process has let go: with what `release` gave there."""
        self._decoder.feed(rest, fds)

    def close(self) -> None:
        """End the conversation."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove(self._sock.fileno())
        self._sock.close()
        descriptors.close_all(self._decoder.abandoned())
        self._queue.clear()
        self._on_close(self)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & (READ | HANGUP) and not self.closed:
            self._read()

    def _read(self) -> None:
        try:
            data, fds = descriptors.recv(self._sock, _READ_SIZE, _MAX_FDS)
        except BlockingIOError:
            return
        except OSError:  # reset, or descriptors that did not fit: nothing that follows could be trusted
            self.close()
            return
        if not data:
            descriptors.close_all(fds)
            self.close()
            return
        try:
            messages = self._decoder.feed(data, fds)
        except WireError:
            self.close()
            return
        for message, message_fds in messages:
            if self.closed:
                descriptors.close_all(message_fds)
            else:
                self._on_message(self, message, message_fds)

    def _flush(self) -> None:
        while self._queue:
            view, fds = self._queue.popleft()
            rest, fds = self._write(view, fds)
            if self.closed:
                return
            self._queued -= len(view) - len(rest)
            if rest:
                self._queue.appendleft((rest, fds))
                return
        self._loop.modify(self._sock.fileno(), READ)

    def _write(self, view: memoryview, fds: tuple[int, ...]) -> tuple[memoryview, tuple[int, ...]]:
        """Send what goes; return what is left."""
        try:
            sent = descriptors.send(self._sock, view, fds)
        except BlockingIOError:
            return view, fds
        except OSError:  # EPIPE, ECONNRESET
            self.close()
            return view[:0], ()
        return view[sent:], ()
