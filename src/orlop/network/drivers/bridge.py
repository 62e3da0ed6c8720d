"""The bridge driver: a bridge on the host, a veth pair for each container, published ports by nftables.

Two kinds of work: what is decided at once, on the event loop (addresses, ports), and what waits for the kernel, in
one thread that owns the sockets (`BridgeHost`) and does things in the order in which they were asked. So a port that
was released and published again is withdrawn before it is added.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from orlop.errors import Conflict, Internal, InvalidArgument
from orlop.formats.netlink import NetlinkFormatError
from orlop.formats.rtnetlink import mac_bytes
from orlop.linux.sockets import internet_sockets
from orlop.model.record import EndpointRecord
from orlop.network import links
from orlop.network.cleaning import Cleaner
from orlop.network.drivers.bridge_host import BridgeHost
from orlop.network.forwarding import RUN
from orlop.network.ipam import Pool, derive_mac
from orlop.network.network import BridgeOptions, Endpoint, EndpointRequest
from orlop.network.ports import HostPorts, in_order
from orlop.network.relay import Relay

__all__ = ["BridgeDriver"]

log = logging.getLogger(__name__)

REMEMBERED = 4096  # released addresses; neighbours forget after minutes
NETWORK = "bridge"  # the name of the network that the default bridge is

T = TypeVar("T")


class BridgeDriver:
    """The default bridge of one instance; implements `orlop.network.network.Driver`.

    `run` is the directory of what instances share (`orlop.network.forwarding`).
    """

    def __init__(self, options: BridgeOptions, run: Path = RUN) -> None:
        self._options = options
        self._run = run
        self._worker = ThreadPoolExecutor(1, "orlop-network")
        self._pending: set[asyncio.Future[None]] = set()  # disconnects under way
        self._connecting = 0
        self._records: dict[str, EndpointRecord] = {}  # what is allocated, by endpoint id
        self._connected: set[str] = set()
        self._sockets: dict[str, list[socket.socket]] = {}
        self._ports = HostPorts(options.default_ip)
        self._relay = Relay()
        self._cleaner = Cleaner(lambda: self._connecting > 0)
        self._last_macs: OrderedDict[str, str] = OrderedDict()  # of released addresses
        self._opened: BridgeHost | None = None
        self._pool: Pool
        self._pool6: Pool | None = None

    @property
    def _host(self) -> BridgeHost:
        if self._opened is None:
            raise Internal("the bridge is not open")
        return self._opened

    async def open(self, live: Iterable[EndpointRecord]) -> None:
        """Make or mend the bridge and the table; adopt `live`, remove our other links. Raises `errors.Error`."""
        records = {record.endpoint_id: record for record in live}
        try:
            host = await self._in_worker(lambda: BridgeHost(self._options, list(records.values()), self._run))
        except OSError as error:
            raise Internal(f"Error initializing network controller: {error}") from error
        owner = f"{NETWORK} ({self._options.network_id})"
        self._pool = Pool(host.gateway, owner)
        self._pool6 = Pool(host.gateway6, owner) if host.gateway6 else None
        for record in records.values():
            self._pool.reserve(record.address)
            if self._pool6 and record.address6:
                self._pool6.reserve(record.address6)
        self._ports.adopt(records.values())
        self._records, self._connected = records, set(records)
        self._opened = host

    def gateway(self) -> str:
        """Return the host's IPv4 address on the bridge."""
        return str(self._host.gateway.ip)

    def subnets(self) -> list[tuple[str, str]]:
        """Return the subnets, IPv4 first, each with the host's address in it."""
        host = self._host
        return [(str(own.network), str(own.ip)) for own in (host.gateway, host.gateway6) if own is not None]

    async def close(self) -> None:
        """Finish removals and let go; containers stay connected. Without any, forwarding is given back."""
        self._relay.close()
        for sock in [sock for sockets in self._sockets.values() for sock in sockets]:
            sock.close()
        if self._pending:
            await asyncio.wait(self._pending)
        await self._cleaner.close()
        if host := self._opened:
            self._opened = None
            await self._in_worker(lambda: host.close(idle=not self._records))
        self._worker.shutdown()

    async def destroy(self) -> None:
        """Remove the rules, and the bridge if it is ours. Raises `Conflict` while there are endpoints."""
        if self._records:
            raise Conflict(f"error while removing network: network {NETWORK} has active endpoints")
        await self._in_worker(self._host.destroy)

    async def allocate(self, request: EndpointRequest) -> Endpoint:
        """Reserve address and ports. Raises `errors.Error` with dockerd's text, and holds nothing then."""
        host = self._host
        mac = _checked_mac(request.mac)
        address6 = ""
        with contextlib.ExitStack() as undo:
            address = _take(self._pool, request.address)
            undo.callback(self._pool.release, address)
            if self._pool6:
                address6 = _take(self._pool6, request.address6)
                undo.callback(self._pool6.release, address6)
            ports, sockets = self._ports.bind(request.ports, address, address6)
            undo.pop_all()
        record = EndpointRecord(
            network=NETWORK,
            network_id=self._options.network_id,
            endpoint_id=request.endpoint_id,
            host_ifname=links.host_end(self._options.instance, request.endpoint_id),
            address=address,
            prefix=host.gateway.network.prefixlen,
            gateway=str(host.gateway.ip),
            address6=address6,
            prefix6=host.gateway6.network.prefixlen if host.gateway6 else 0,
            gateway6=str(host.gateway6.ip) if host.gateway6 else "",
            mac=mac or derive_mac(address),
            ports=ports,
        )
        self._records[record.endpoint_id] = record
        self._sockets[record.endpoint_id] = sockets
        return Endpoint(record, sockets)

    async def connect(self, endpoint: Endpoint, netns_fd: int) -> dict[str, Any]:
        """Put one end of a new veth pair into the namespace and publish the ports; return what is set up inside."""
        host, record = self._host, endpoint.record
        namespace = os.dup(netns_fd)  # the work goes on when the caller is cancelled and closes its own
        plan = links.connect(
            record,
            netns=namespace,
            bridge=host.index,
            mtu=host.mtu,
            icc=self._options.icc,
            host_ipv6=host.ipv6,
            announce=self._known_elsewhere(record),
        )
        self._connected.add(record.endpoint_id)
        self._connecting += 1
        work = self._in_worker(lambda: host.connect(plan, record))
        work.add_done_callback(lambda _: os.close(namespace))
        try:
            await asyncio.shield(work)
        except OSError as error:
            self._connected.discard(record.endpoint_id)
            raise Internal(f"failed to connect the container to its network: {error}") from error
        finally:
            self._connecting -= 1
        self._cleaner.connected(record, lambda: self.serve(record, endpoint.sockets))
        return links.interface_config(record, host_ipv6=host.ipv6)

    def serve(self, record: EndpointRecord, sockets: Iterable[socket.socket]) -> None:
        """Serve what reaches the sockets of published ports, given in the order of `record.ports`."""
        if record.endpoint_id not in self._records or self._opened is None:
            return
        for sock, port in zip(sockets, record.ports, strict=True):
            if port.protocol != "sctp":
                translated = ":" not in port.host_ip or bool(record.address6)
                self._relay.serve(record.endpoint_id, sock, (record.address, port.container_port), translated)

    async def adopt(self, record: EndpointRecord, shim_pid: int) -> None:
        """Serve the ports of a running container of `open`'s `live` again, with the sockets that its shim holds."""
        if not record.ports or record.endpoint_id not in self._records:
            return
        try:
            held = await self._in_worker(lambda: internet_sockets(shim_pid))
            sockets = in_order(record.ports, held)
        except (OSError, LookupError) as error:
            log.warning("ports of endpoint %s are not served beside nftables: %s", record.endpoint_id[:12], error)
            return
        self._sockets[record.endpoint_id] = sockets
        self.serve(record, sockets)

    async def release(self, record: EndpointRecord) -> None:
        """Give address and ports back; the link goes in the background. Nothing happens if that was done."""
        if self._records.pop(record.endpoint_id, None) is None:
            return
        self._relay.stop(record.endpoint_id)
        for sock in self._sockets.pop(record.endpoint_id, ()):
            sock.close()
        self._ports.release(record.ports)
        for address in _addresses(record):
            self._last_macs[address] = record.mac
        while len(self._last_macs) > REMEMBERED:
            self._last_macs.popitem(last=False)
        self._pool.release(record.address)
        if self._pool6 and record.address6:
            self._pool6.release(record.address6)
        if record.endpoint_id in self._connected:
            self._connected.discard(record.endpoint_id)
            host = self._host
            work = self._in_worker(lambda: host.disconnect(record))
            self._pending.add(work)
            work.add_done_callback(functools.partial(self._disconnected, record))

    def _known_elsewhere(self, record: EndpointRecord) -> tuple[str, ...]:
        """The addresses of an endpoint that neighbours may still look for at another MAC."""
        if record.mac != derive_mac(record.address):
            return _addresses(record)
        return tuple(
            address for address in _addresses(record) if self._last_macs.get(address, record.mac) != record.mac
        )

    def _disconnected(self, record: EndpointRecord, work: asyncio.Future[None]) -> None:
        self._pending.discard(work)
        self._cleaner.released(record)  # flows are forgotten when no rule makes them again
        if not work.cancelled() and (error := work.exception()):
            log.error("published ports stay in the table: %s", error)

    def _in_worker(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Queue `work` at once: what is asked later is done later."""
        return asyncio.get_running_loop().run_in_executor(self._worker, work)


def _addresses(record: EndpointRecord) -> tuple[str, ...]:
    return tuple(filter(None, (record.address, record.address6)))


def _take(pool: Pool, wanted: str) -> str:
    if not wanted:
        return pool.allocate()
    if not pool.reserve(wanted):
        raise Conflict("Address already in use")
    return wanted


def _checked_mac(mac: str) -> str:
    try:
        return mac_bytes(mac).hex(":") if mac else ""
    except NetlinkFormatError as error:
        raise InvalidArgument(f"invalid MAC address: {mac}") from error
