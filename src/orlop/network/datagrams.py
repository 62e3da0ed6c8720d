"""Serving datagrams that reach the socket of a published port (see `orlop.network.relay`).

Each client has a connected socket of its own towards the container, so that answers find their way; it is closed when
nothing has passed for `IDLE` seconds. An answer leaves from the address that the client had sent to.

Of a port that the kernel translates too, what was queued before the relay began is dropped: an answer to a client whose
flow was forgotten just now would make a tracked flow the other way round, and keep the client from being translated.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

__all__ = ["DatagramRelay"]

log = logging.getLogger(__name__)

MAX_CLIENTS = 256
MAX_DATAGRAM = 1 << 16
BURST = 64  # datagrams of one client or port before others have their turn
IDLE = 30.0  # seconds

IP_PKTINFO = 8  # ip(7); the socket module does not name it in 3.11
_PKTINFO4 = struct.Struct("=i4s4s")  # interface, local address, destination
_PKTINFO6 = struct.Struct("=16si")

Ancillary = list[tuple[int, int, bytes]]


@dataclass(slots=True)
class _Client:
    address: Any
    upstream: socket.socket
    origin: Ancillary  # says from where to answer
    last_used: float


class DatagramRelay:
    """Passes datagrams between one bound socket (which it owns) and the target."""

    def __init__(self, sock: socket.socket, target: tuple[str, int], translated: bool = False) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._target = target
        self._clients: dict[Any, _Client] = {}
        self._ipv6 = sock.family == socket.AF_INET6
        sock.setblocking(False)
        if translated:
            self._drain()
        if self._ipv6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self._loop.add_reader(sock, self._from_clients)
        self._sweeper = self._loop.call_later(IDLE, self._sweep)

    def close(self) -> None:
        """Stop serving, and forget the clients."""
        self._sweeper.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for key in list(self._clients):
            self._drop(key)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(1)

    def _from_clients(self) -> None:
        for _ in range(BURST):
            try:
                data, ancillary, _, address = self._socket.recvmsg(MAX_DATAGRAM, 256)
            except BlockingIOError:
                return
            except OSError as error:  # an ICMP error of an earlier answer
                log.debug("relay to %s port %d: %s", *self._target, error)
                return
            client = self._clients.get(address) or self._connect(address)
            if client is None:
                continue
            client.origin = self._answer_from(ancillary)
            client.last_used = self._loop.time()
            try:
                client.upstream.send(data)
            except OSError:  # refused: UDP gives no guarantee, and the client will ask again
                self._drop(address)

    def _connect(self, address: Any) -> _Client | None:
        if len(self._clients) >= MAX_CLIENTS:
            return None
        family = socket.AF_INET6 if ip_address(self._target[0]).version == 6 else socket.AF_INET
        upstream = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            upstream.connect(self._target)
        except OSError as error:
            log.warning("relay to %s port %d: %s", *self._target, error)
            upstream.close()
            return None
        client = self._clients[address] = _Client(address, upstream, [], self._loop.time())
        self._loop.add_reader(upstream, self._from_target, client)
        return client

    def _from_target(self, client: _Client) -> None:
        for _ in range(BURST):
            try:
                data = client.upstream.recv(MAX_DATAGRAM)
                client.last_used = self._loop.time()
                self._socket.sendmsg([data], client.origin, 0, client.address)
            except BlockingIOError:
                return
            except OSError:  # nobody listens there, or the client is out of reach
                self._drop(client.address)
                return

    def _answer_from(self, ancillary: Ancillary) -> Ancillary:
        for level, kind, value in ancillary:
            if self._ipv6 and (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                address, index = _PKTINFO6.unpack(value)
                link_local = ip_address(address).is_link_local
                return [(level, kind, _PKTINFO6.pack(address, index if link_local else 0))]
            if not self._ipv6 and (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
                _, local, _ = _PKTINFO4.unpack(value)
                return [(level, kind, _PKTINFO4.pack(0, local, bytes(4)))]
        return []

    def _sweep(self) -> None:
        oldest = self._loop.time() - IDLE
        for key in [key for key, client in self._clients.items() if client.last_used < oldest]:
            self._drop(key)
        self._sweeper = self._loop.call_later(IDLE, self._sweep)

    def _drop(self, key: Any) -> None:
        client = self._clients.pop(key)
        self._loop.remove_reader(client.upstream)
        client.upstream.close()
