"""The network: where containers meet each other and the outside.

An endpoint is *allocated* (address, MAC, bound host ports: cheap, before the namespace exists, so that a conflict is
told early), *connected* (veth pair into the namespace, bridge port, nftables elements) while the container's mounts are
being made, and *released*: address and ports are free at once, links and conntrack entries go later. The package does
not know containers: it is given ids and descriptors and gives back records.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from orlop.model.record import EndpointRecord

__all__ = ["BridgeOptions", "Driver", "Endpoint", "EndpointRequest", "PortRequest"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PortRequest:
    """A port to publish. `host_ip` empty: all addresses; `host_ports` (first, last), (0, 0): any free one."""

    container_port: int
    protocol: str  # tcp | udp | sctp
    host_ip: str = ""
    host_ports: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class EndpointRequest:
    """What a container asks of a network."""

    container_id: str
    endpoint_id: str  # 64 hex
    mac: str = ""
    address: str = ""  # a chosen IPv4 address (networks that allow it)
    address6: str = ""
    ports: tuple[PortRequest, ...] = ()


@dataclass(slots=True)
class Endpoint:
    """An allocated endpoint: its record, and the bound sockets of its ports (the shim gets duplicates of them)."""

    record: EndpointRecord
    sockets: list[socket.socket] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class BridgeOptions:
    """The default bridge, from the daemon's flags."""

    instance: str  # 6 hex
    name: str = "orlop0"  # -b; "none": no default bridge
    own: bool = True  # False: `-b` chose the name: a bridge that the administrator made is used as it is
    network_id: str = ""  # what endpoints say their network is
    address: str = ""  # --bip, CIDR; empty: the first free pool
    mtu: int = 0
    default_ip: str = ""  # --ip
    ipv6: bool = False
    fixed_cidr6: str = ""
    icc: bool = True
    masquerade: bool = True
    ip_forward: bool = True


class Driver(Protocol):
    """A kind of network (bridge, host, none…)."""

    async def open(self, live: Iterable[EndpointRecord]) -> None:
        """Make or mend what the network needs on the host: the bridge, our table; keep `live`, remove our strays."""

    def gateway(self) -> str:
        """The host's IPv4 address on the network (what `host-gateway` means)."""

    def subnets(self) -> list[tuple[str, str]]:
        """The network's subnets, IPv4 first, each with the host's address in it."""

    async def allocate(self, request: EndpointRequest) -> Endpoint:
        """Reserve address and ports. Raises `errors.Error` with dockerd's text when a port is taken."""

    async def connect(self, endpoint: Endpoint, netns_fd: int) -> Json:
        """Connect; return ``{"interfaces": [...], "sysctls": {...}}`` for `orlop.linux.interfaces.configure`."""

    async def adopt(self, record: EndpointRecord, shim_pid: int) -> None:
        """Take up again what this daemon does for a running container whose shim is `shim_pid`: one of `live`."""

    async def release(self, record: EndpointRecord) -> None:
        """Give address and ports back at once; links, rules and conntrack entries go in the background."""

    async def close(self) -> None:
        """Finish background removals; leave running containers connected."""
