"""A conversation with a shim or the launcher: `formats.shim_wire` messages and descriptors on the event loop.

Messages are handed to `on_message` as they arrive, in order; requests get the answer with their ``seq``. Nothing here
waits for the peer: what a full socket does not take is queued. When the peer has closed (or speaks nonsense)
`on_lost` is called once and open requests raise `ConnectionLost`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence

from orlop.formats.shim_wire import Decoder, Message, WireError
from orlop.linux import descriptors
from orlop.runtime.requests import encode

__all__ = ["Connection", "ConnectionLost", "OnMessage"]

_log = logging.getLogger(__name__)
_READ = 64 << 10
_FDS_PER_CALL = descriptors.MAX_PER_MESSAGE

OnMessage = Callable[[Message, list[int]], None]
"""Gets a message and the descriptors that came with it, which are its own to close."""


class ConnectionLost(Exception):
    """The peer is gone."""


class Connection:
    """Owns `sock`. `on_message` and `on_lost` may be exchanged at any time."""

    def __init__(self, sock: socket.socket, on_message: OnMessage, on_lost: Callable[[], None]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._fd = sock.fileno()
        self._loop = asyncio.get_running_loop()
        self._decoder = Decoder()
        self._outgoing: deque[tuple[memoryview, list[int]]] = deque()
        self._incoming: deque[tuple[Message, list[int]]] = deque()
        self._requests: dict[int, asyncio.Future[Message]] = {}
        self._seq = 0
        self._deferred = False
        self._lost_in_queue = False
        self.on_message = on_message
        self.on_lost = on_lost
        self.open = True
        self._loop.add_reader(self._fd, self._readable)

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send a message; `fds` are only borrowed. Raises `ConnectionLost`."""
        self.send_frame(encode(message, len(fds)), fds)

    def send_frame(self, frame: bytes, fds: Sequence[int] = ()) -> None:
        """Send an encoded message; `fds` are only borrowed. Raises `ConnectionLost`."""
        if not self.open:
            raise ConnectionLost
        view = memoryview(frame)
        while len(fds) > _FDS_PER_CALL:  # the rest of them rides on the bytes that follow
            self._queue(view[:1], fds[:_FDS_PER_CALL])
            view, fds = view[1:], fds[_FDS_PER_CALL:]
        self._queue(view, fds)

    async def request(self, message: Message, fds: Sequence[int] = ()) -> Message:
        """Send a message and return its answer. Raises `ConnectionLost`."""
        self._seq += 1
        seq = self._seq
        future: asyncio.Future[Message] = self._loop.create_future()
        self._requests[seq] = future
        try:
            self.send({**message, "seq": seq}, fds)
            return await future
        finally:
            self._requests.pop(seq, None)

    def defer(self) -> None:
        """Hand on the messages that follow the present one in a later turn of the loop."""
        self._deferred = True

    def close(self) -> None:
        """Close the socket; `on_lost` is not called, open requests raise `ConnectionLost`."""
        self.on_lost = _ignore
        self._lose()

    def _queue(self, view: memoryview, fds: Sequence[int]) -> None:
        if not self._outgoing:
            try:
                sent = descriptors.send(self._sock, view, tuple(fds))
            except BlockingIOError:
                sent = 0
            except OSError as error:
                # What the peer said before it closed is still to be read: the reader finds the end of it.
                raise ConnectionLost from error
            if sent == len(view):
                return
            view, fds = view[sent:], () if sent else fds
            self._loop.add_writer(self._fd, self._writable)
        self._outgoing.append((view, [os.dup(fd) for fd in fds]))

    def _writable(self) -> None:
        while self._outgoing:
            view, fds = self._outgoing[0]
            try:
                sent = descriptors.send(self._sock, view, tuple(fds))
            except BlockingIOError:
                return
            except OSError:
                break
            descriptors.close_all(fds)
            if sent < len(view):
                self._outgoing[0] = (view[sent:], [])
                return
            self._outgoing.popleft()
        self._loop.remove_writer(self._fd)
        self._drop_outgoing()

    def _drop_outgoing(self) -> None:
        for _view, fds in self._outgoing:
            descriptors.close_all(fds)
        self._outgoing.clear()

    def _readable(self) -> None:
        try:
            data, fds = descriptors.recv(self._sock, _READ)
            messages = self._decoder.feed(data, fds)
        except BlockingIOError:
            return
        except (OSError, WireError) as error:
            if not isinstance(error, ConnectionResetError):
                _log.error("a shim's conversation is broken off: %s", error)
            data, messages = b"", []
        self._incoming.extend(messages)
        if not data:
            self._lost_in_queue = True
            self._loop.remove_reader(self._fd)
        if not self._deferred:
            self._deliver()

    def _deliver(self) -> None:
        self._deferred = False
        while self._incoming and self.open:
            message, fds = self._incoming.popleft()
            if message["type"] == "answer":
                descriptors.close_all(fds)
                future = self._requests.get(message.get("seq", 0))
                if future is not None and not future.done():
                    future.set_result(message)
            else:
                self._hand_on(message, fds)
            if self._deferred:
                self._loop.call_soon(self._deliver)
                return
        if self._lost_in_queue and self.open:
            self._lose()

    def _hand_on(self, message: Message, fds: list[int]) -> None:
        try:
            self.on_message(message, fds)
        except Exception:  # noqa: BLE001 a mistake over one message must not cost the ones behind it
            _log.exception("message %s of a shim", message["type"])

    def _lose(self) -> None:
        if not self.open:
            return
        self.open = False
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._sock.close()
        self._drop_outgoing()
        for _message, fds in self._incoming:
            descriptors.close_all(fds)
        self._incoming.clear()
        descriptors.close_all(self._decoder.abandoned())
        for future in self._requests.values():
            if not future.done():
                future.set_exception(ConnectionLost())
        self.on_lost()


def _ignore() -> None:
    pass
