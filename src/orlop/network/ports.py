"""Published ports: bound sockets that hold a host's port for a container.

nftables translates packets before a socket could get them, but reserves nothing: without a socket, a program of the
host could take the port, and two containers the same one. The sockets are handed to the container's shim, which holds
them as long as the container runs; `orlop.network.relay` serves what reaches them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections import defaultdict
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path

from orlop.errors import Internal, InvalidArgument
from orlop.model.record import EndpointRecord, PublishedPort
from orlop.network.network import PortRequest

__all__ = ["HostPorts", "PortTaken", "in_order"]

BACKLOG = 1024
DATAGRAM_BUFFER = 64 << 10  # bytes; filled only by what nobody translates
LOCAL_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
FALLBACK_RANGE = (32768, 60999)
IPPROTO_SCTP = 132

TRANSPORTS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, IPPROTO_SCTP),
}
# The words of Go's syscall package, which clients see from dockerd.
REASONS = {
    errno.EADDRINUSE: "address already in use",
    errno.EADDRNOTAVAIL: "cannot assign requested address",
    errno.EACCES: "permission denied",
}
NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)

Key = tuple[str, str, int]  # protocol, host address, port


class PortTaken(Internal):
    """A host port cannot be had; the message is the inner part of dockerd's."""


class HostPorts:
    """The host ports of one network's endpoints. Used by the event loop's thread; nothing here waits."""

    def __init__(self, default_ip: str = "") -> None:
        self._default_ip = default_ip
        self._held: defaultdict[tuple[str, int], set[str]] = defaultdict(set)  # host addresses by protocol and port
        self._last_ephemeral = 0

    def adopt(self, records: Iterable[EndpointRecord]) -> None:
        """Take note of ports that shims of running containers hold."""
        for record in records:
            self._hold(record.ports)

    def release(self, ports: Iterable[PublishedPort]) -> None:
        """Forget ports whose sockets are closed."""
        for port in ports:
            hosts = self._held[port.protocol, port.host_port]
            hosts.discard(port.host_ip)
            if not hosts:
                del self._held[port.protocol, port.host_port]

    def bind(
        self, requests: Iterable[PortRequest], address: str, address6: str = ""
    ) -> tuple[tuple[PublishedPort, ...], list[socket.socket]]:
        """Bind all that is asked, or nothing; return the ports with one socket each, in the same order.

        `address` and `address6` are the container's, for the message. Raises `PortTaken`.
        """
        ports: list[PublishedPort] = []
        sockets: list[socket.socket] = []
        try:
            for request in requests:
                for port, bound in self._bind_request(request, address, address6):
                    ports.append(port)
                    sockets.append(bound)
        except BaseException:
            self.release(ports)
            for bound in sockets:
                bound.close()
            raise
        return tuple(ports), sockets

    def _bind_request(
        self, request: PortRequest, address: str, address6: str
    ) -> list[tuple[PublishedPort, socket.socket]]:
        if request.protocol not in TRANSPORTS:
            raise InvalidArgument(f"invalid port protocol: {request.protocol}")
        first, last = request.host_ports
        candidates = self._ephemeral() if not first else iter(range(first, max(first, last) + 1))
        taken: PortTaken | None = None
        for number in candidates:
            try:
                bound = self._bind_number(request, number, address, address6)
            except PortTaken as error:
                taken = error
                continue
            if not first:
                self._last_ephemeral = number
            return bound
        if taken is None or not first or last > first:
            raise PortTaken("all ports are allocated") from taken
        raise taken

    def _bind_number(
        self, request: PortRequest, number: int, address: str, address6: str
    ) -> list[tuple[PublishedPort, socket.socket]]:
        bound: list[tuple[PublishedPort, socket.socket]] = []
        with contextlib.ExitStack() as undo:
            for host_ip, optional in self._host_addresses(request):
                port = PublishedPort(
                    host_ip=host_ip,
                    host_port=number,
                    container_port=request.container_port,
                    protocol=request.protocol,
                )
                if self._allocated(port):
                    raise PortTaken(f"Bind for {_join(host_ip, number)} failed: port is already allocated")
                try:
                    sock = _open(port)
                except OSError as error:
                    if optional and error.errno in NO_IPV6:
                        continue
                    target = address6 if ":" in host_ip and address6 else address
                    what = f"{_join(host_ip, number)}:{_join(target, request.container_port)}/{request.protocol}"
                    message = f"failed to bind host port for {what}: {_reason(error)}"
                    if error.errno == errno.EADDRINUSE:
                        raise PortTaken(message) from error
                    raise Internal(message) from error
                undo.callback(sock.close)
                bound.append((port, sock))
            undo.pop_all()
        self._hold(port for port, _ in bound)
        return bound

    def _host_addresses(self, request: PortRequest) -> list[tuple[str, bool]]:
        """The addresses to bind, each with whether the host may lack its family."""
        chosen = request.host_ip or self._default_ip
        if not chosen:
            return [("0.0.0.0", False), ("::", True)]
        try:
            return [(str(ip_address(chosen)), False)]
        except ValueError:
            raise InvalidArgument(f"invalid host IP address: {chosen}") from None

    def _hold(self, ports: Iterable[PublishedPort]) -> None:
        for port in ports:
            self._held[port.protocol, port.host_port].add(port.host_ip)

    def _allocated(self, port: PublishedPort) -> bool:
        """Say whether one of our containers has this port of this address, or of all addresses of its family."""
        host = ip_address(port.host_ip)
        others = (ip_address(held) for held in self._held.get((port.protocol, port.host_port), ()))
        return any(
            other.version == host.version and (other == host or other.is_unspecified or host.is_unspecified)
            for other in others
        )

    def _ephemeral(self) -> Iterator[int]:
        """The host's ephemeral ports, each once, from the one after the last given."""
        try:
            first, last = (int(word) for word in LOCAL_PORT_RANGE.read_text().split())
        except (OSError, ValueError):
            first, last = FALLBACK_RANGE
        start = self._last_ephemeral + 1 if first <= self._last_ephemeral < last else first
        yield from range(start, last + 1)
        yield from range(first, start)


def in_order(ports: Iterable[PublishedPort], sockets: Iterable[socket.socket]) -> list[socket.socket]:
    """Return the socket of each port and close the others. Raises LookupError for a port that has none."""
    names = {protocol: name for name, (_, protocol) in TRANSPORTS.items()}
    with contextlib.ExitStack() as unused:
        found: dict[Key, socket.socket] = {}
        for sock in sockets:
            unused.enter_context(sock)
            host, number = sock.getsockname()[:2]
            found[names.get(sock.proto, ""), host, number] = sock
        return [sock.dup() for sock in [found[_key(port)] for port in ports]]


def _open(port: PublishedPort) -> socket.socket:
    kind, protocol = TRANSPORTS[port.protocol]
    family = socket.AF_INET6 if ":" in port.host_ip else socket.AF_INET
    sock = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DATAGRAM_BUFFER)
        sock.bind((port.host_ip, port.host_port))
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _key(port: PublishedPort) -> Key:
    return port.protocol, port.host_ip, port.host_port


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError) -> str:
    number = error.errno or 0
    return REASONS.get(number) or os.strerror(number).lower()
