"""The shim's side of its conversations: the control socket that came with the start, and its own unix socket.

All peers are equal, and there may be any number: each is greeted with ``hello``, hears of what happens, and may ask.
A peer that goes changes nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from orlop.formats.shim_wire import Message
from orlop.linux import descriptors
from orlop.shim.channel import Channel
from orlop.shim.loop import READ, Loop

__all__ = ["Refused", "Server"]

_BACKLOG = 64

Handler = Callable[[Channel, Message, list[int]], dict[str, Any] | None]


class Refused(Exception):
    """A request cannot be done: told in the answer."""

    def __init__(self, message: str, *, errno: int = 0, exit_code: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.errno = errno
        self.exit_code = exit_code


class Server:
    """Accepts peers and hands their messages to `handler`.

    What that returns is the answer; None means that it answers later, by `answer`. A `Refused` or an `OSError` is
    answered as such. It takes the descriptors out of the list that it keeps; the others are closed.
    """

    def __init__(
        self, loop: Loop, handler: Handler, greet: Callable[[Channel], None], on_lost: Callable[[Channel], None]
    ) -> None:
        self._loop = loop
        self._handler = handler
        self._greet = greet
        self._on_lost = on_lost
        self._listener: socket.socket | None = None
        self._channels: list[Channel] = []

    def listen(self, path: str) -> None:
        """Accept peers at `path`, which only root may connect to. Raises `OSError`."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
        self.accept_from(listener)

    def accept_from(self, listener: socket.socket) -> None:
        """Accept peers from a socket that listens already."""
        self._listener = listener
        self._loop.add(listener.fileno(), READ, self._accept)

    def add(self, sock: socket.socket) -> Channel:
        """Talk to a peer that has just connected."""
        channel = self.resume(sock, b"", [])
        self._greet(channel)
        return channel

    def resume(self, sock: socket.socket, rest: bytes, fds: list[int]) -> Channel:
        """Go on talking to a peer that another process has released."""
        channel = Channel(self._loop, sock, self._message, self._lost)
        channel.resume(rest, fds)
        self._channels.append(channel)
        return channel

    @property
    def alone(self) -> bool:
        """Whether there is no peer."""
        return not self._channels

    def broadcast(self, message: Message) -> None:
        """Tell every peer."""
        for channel in self._channels[:]:
            channel.send(message)

    def release(self) -> tuple[int | None, list[tuple[int, bytes, list[int]]]]:
        """Give listener and conversations to another process; see `Channel.release`."""
        listener = None
        if self._listener is not None:
            self._loop.remove(self._listener.fileno())
            listener = self._listener.detach()
        return listener, [released for channel in self._channels if (released := channel.release()) is not None]

    def close(self) -> None:
        """Accept no more peers and end the conversations."""
        if self._listener is not None:
            self._loop.remove(self._listener.fileno())
            self._listener.close()
            self._listener = None
        for channel in self._channels[:]:
            channel.close()

    def _accept(self, _: int) -> None:
        if self._listener is None:
            return
        try:
            sock, _peer = self._listener.accept()
        except BlockingIOError:
            return
        self.add(sock)

    def _lost(self, channel: Channel) -> None:
        if channel in self._channels:
            self._channels.remove(channel)
        self._on_lost(channel)

    def _message(self, channel: Channel, message: Message, fds: list[int]) -> None:
        try:
            result = self._handler(channel, message, fds)
        except Refused as error:
            refuse(channel, message, error.message, errno=error.errno, exit_code=error.exit_code)
        except OSError as error:
            refuse(channel, message, error.strerror or str(error), errno=error.errno or 0)
        except (KeyError, TypeError, ValueError) as error:
            refuse(channel, message, f"malformed {message['type']} message: {error!r}", errno=22)
        else:
            if result is not None and "seq" in message:
                channel.send({"type": "answer", "seq": message["seq"], "ok": True, **result})
        finally:
            descriptors.close_all(fds)


def refuse(channel: Channel, message: Message, text: str, *, errno: int = 0, exit_code: int = 0) -> None:
    """Answer that a request was not done."""
    if "seq" in message:
        fields = {"errno": errno, "message": text, "exit_code": exit_code}
        channel.send({"type": "answer", "seq": message["seq"], "ok": False, **fields})
