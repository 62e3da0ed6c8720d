"""Serving what the kernel cannot translate: connections that reach the sockets of published ports.

That is ``[::1]``, IPv6 clients of a container that has only IPv4, and everything while somebody has flushed our rules.
All else is translated by nftables and never comes here. The shim holds the same sockets, so that clients wait in the
backlog while no orlopd runs and are served by the next one that is given the sockets.

A relay is bounded: at `MAX_CONNECTIONS` a port accepts no more until one ends, and a datagram of a new client is
dropped at `MAX_CLIENTS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from ipaddress import ip_address

from orlop.network.datagrams import DatagramRelay

__all__ = ["Relay", "StreamRelay"]

log = logging.getLogger(__name__)

CHUNK = 64 << 10
MAX_CONNECTIONS = 256
CONNECT_TIMEOUT = 10.0  # seconds
PAUSE = 1.0  # seconds without accepting after an error (descriptors or memory ran out)
RESET = struct.pack("ii", 1, 0)  # struct linger: close with RST

Target = tuple[str, int]


class Relay:
    """The relays of one network, by endpoint. Lives on the event loop."""

    def __init__(self) -> None:
        self._relays: dict[str, list[StreamRelay | DatagramRelay]] = {}

    def serve(self, endpoint_id: str, sock: socket.socket, target: Target, translated: bool = False) -> None:
        """Serve a socket for its target from now on. It is duplicated; the caller keeps its own.

        `translated` says that the kernel takes packets to the same port too.
        """
        relays = self._relays.setdefault(endpoint_id, [])
        if sock.type == socket.SOCK_STREAM:
            relays.append(StreamRelay(sock.dup(), target))
        else:
            relays.append(DatagramRelay(sock.dup(), target, translated))

    def stop(self, endpoint_id: str) -> None:
        """Stop serving an endpoint and end its connections. Nothing happens if it is not served."""
        for relay in self._relays.pop(endpoint_id, ()):
            relay.close()

    def close(self) -> None:
        """Stop serving all endpoints."""
        for endpoint_id in list(self._relays):
            self.stop(endpoint_id)


class StreamRelay:
    """Accepts on one listening socket (which it owns) and joins each connection to one to the target."""

    def __init__(self, listener: socket.socket, target: Target) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._target = target
        self._connections: set[asyncio.Task[None]] = set()
        self._accepting = False
        self._retry: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Stop listening, and end the connections."""
        self._pause()
        if self._retry:
            self._retry.cancel()
        self._listener.close()
        for task in self._connections:
            task.cancel()

    def _resume(self) -> None:
        if not self._accepting:
            self._accepting = True
            self._loop.add_reader(self._listener, self._accept)

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            self._loop.remove_reader(self._listener)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):  # the client went away meanwhile
            return
        except OSError as error:
            log.warning("relay to %s port %d waits: %s", *self._target, error)
            self._pause()
            self._retry = self._loop.call_later(PAUSE, self._resume)
            return
        client.setblocking(False)
        task = self._loop.create_task(self._join(client), name=f"relay to {self._target[0]}:{self._target[1]}")
        self._connections.add(task)
        task.add_done_callback(self._ended)
        if len(self._connections) >= MAX_CONNECTIONS:
            self._pause()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if len(self._connections) == MAX_CONNECTIONS and self._listener.fileno() >= 0:
            self._resume()
        self._connections.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.warning("relay to %s port %d: %s", *self._target, error)

    async def _join(self, client: socket.socket) -> None:
        family = socket.AF_INET6 if ip_address(self._target[0]).version == 6 else socket.AF_INET
        with client, socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as server:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    await self._loop.sock_connect(server, self._target)
            except OSError:  # refused, unreachable, too late: the client sees its connection reset
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                return
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(client, server))
                both.create_task(self._pump(server, client))

    async def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        """Move bytes one way until the end of file, and pass that on. A broken connection ends both ways."""
        try:
            while data := await self._loop.sock_recv(source, CHUNK):
                await self._loop.sock_sendall(sink, data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for sock in (source, sink):
                with contextlib.suppress(OSError):  # it is closed at that end already
                    sock.shutdown(socket.SHUT_RDWR)
