"""The links of a bridge as plans: frozen data made from what is wanted and what is there, carried out by `apply`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_interface
from typing import Any

from orlop.errors import Internal
from orlop.formats.netlink import Request
from orlop.formats.rtnetlink import (
    Address,
    Link,
    Route,
    add_address,
    add_veth,
    delete_address,
    delete_link,
    set_bridge_port,
    set_link,
)
from orlop.model.record import EndpointRecord

__all__ = [
    "HostState",
    "Plan",
    "bridge_alias",
    "check_owner",
    "choose_mtu",
    "connect",
    "host_end",
    "interface_config",
    "mend_bridge",
    "mend_ports",
    "remove_strays",
]

DEFAULT_MTU = 1500
SCOPE_UNIVERSE = 0
ALIAS = "orlop:"


@dataclass(frozen=True, slots=True)
class HostState:
    """The links, addresses and routes of the host at one moment."""

    links: tuple[Link, ...]
    addresses: tuple[Address, ...]
    routes: tuple[Route, ...]

    def link(self, name: str) -> Link | None:
        """Return the link of this name."""
        return next((link for link in self.links if link.name == name), None)

    def networks(self, except_index: int = 0) -> list[IPv4Network | IPv6Network]:
        """What is in use: the networks of addresses and routes, those of one interface left out."""
        used = [address.interface.network for address in self.addresses if address.index != except_index]
        used += [route.destination for route in self.routes if route.destination and route.index != except_index]
        return used

    def global_addresses(self, index: int, version: int) -> list[str]:
        """The global addresses of an interface in CIDR form, in the kernel's order."""
        return [
            str(address.interface)
            for address in self.addresses
            if address.index == index and address.scope == SCOPE_UNIVERSE and address.interface.version == version
        ]


@dataclass(frozen=True, slots=True)
class Plan:
    """Requests that make a link, sysctls that must be written before it is up, requests that bring it up."""

    link: str
    create: tuple[Request, ...]
    sysctls: tuple[tuple[str, str], ...]
    bring_up: tuple[Request, ...]
    announce: tuple[str, ...] = ()  # addresses that neighbours may know at another MAC


def bridge_alias(instance: str) -> str:
    """Return the alias by which an instance knows its own bridge."""
    return ALIAS + instance


def host_end(instance: str, endpoint_id: str) -> str:
    """Return the name of an endpoint's link on the host: 15 characters, the kernel's limit."""
    return f"o{instance}{endpoint_id[:8]}"


def check_owner(link: Link, instance: str, own: bool) -> bool:
    """Say whether a bridge of the wanted name is ours; raise when it is somebody else's.

    One that no Orlop made is the administrator's: it is used as it is when `--bridge` named it (`own` False).
    """
    if link.kind != "bridge":
        raise Internal(f'"{link.name}" is a network interface but no bridge: choose another name with --bridge')
    owner = link.alias.removeprefix(ALIAS) if link.alias.startswith(ALIAS) else ""
    if owner and owner != instance:
        raise Internal(
            f'bridge "{link.name}" belongs to another Orlop instance ({owner}): choose another name with --bridge, '
            f'or, if that instance is gone for good, remove it with "ip link delete {link.name}"'
        )
    if own and not owner:
        raise Internal(
            f'bridge "{link.name}" exists and was not made by Orlop: name it with --bridge {link.name} to use it, '
            "or choose another name"
        )
    return bool(owner)


def choose_mtu(state: HostState, asked: int) -> int:
    """Return the MTU of containers: what was asked, else that of the default route if it is below Ethernet's."""
    if asked:
        return asked
    uplinks = {route.index for route in state.routes if route.destination is None}
    return min([DEFAULT_MTU, *(link.mtu for link in state.links if link.index in uplinks and link.mtu)])


def mend_bridge(
    state: HostState, link: Link, *, addresses: Collection[str], mac: str, mtu: int, alias: str
) -> list[Request]:
    """Return what brings our own bridge to what it should be; nothing when it is."""
    requests = []
    if link.mac != mac or link.mtu != mtu or link.alias != alias:
        requests.append(set_link(link.index, name=link.name, mac=mac, mtu=mtu, alias=alias))
    present = [*state.global_addresses(link.index, 4), *state.global_addresses(link.index, 6)]
    wanted = [str(ip_interface(address)) for address in addresses]
    requests += [delete_address(link.index, address) for address in present if address not in wanted]
    requests += [add_address(link.index, address) for address in wanted if address not in present]
    if not link.up:
        requests.append(set_link(link.index, name=link.name, up=True))
    return requests


def mend_ports(state: HostState, bridge: int, live: Iterable[EndpointRecord], icc: bool) -> list[Request]:
    """Return what makes the host ends of `live` ports of the bridge again."""
    requests = []
    for record in live:
        link = state.link(record.host_ifname)
        if link is None:
            continue
        if link.master != bridge:
            requests.append(set_link(link.index, name=link.name, master=bridge))
            requests.append(set_bridge_port(link.index, name=link.name, hairpin=True, isolated=not icc))
        if not link.up:
            requests.append(set_link(link.index, name=link.name, up=True))
    return requests


def remove_strays(state: HostState, instance: str, live: Iterable[EndpointRecord]) -> list[Request]:
    """Return what removes the links of an instance that no endpoint of `live` has."""
    kept = {record.host_ifname for record in live}
    return [
        delete_link(link.index, name=link.name)
        for link in state.links
        if link.kind == "veth" and link.name.startswith(f"o{instance}") and link.name not in kept
    ]


def connect(
    record: EndpointRecord,
    *,
    netns: int,
    bridge: int,
    mtu: int,
    icc: bool,
    host_ipv6: bool,
    announce: tuple[str, ...] = (),
) -> Plan:
    """Plan the link between the bridge and the namespace of descriptor `netns`, where its other end is born.

    `host_ipv6` says that the host's kernel has IPv6: then it is turned off on the host end before that goes up,
    because each multicast membership makes the next link dearer (10 ms for the 500th).
    """
    name = record.host_ifname
    make = add_veth(name, peer=record.ifname, peer_mac=record.mac, netns=netns, master=bridge, mtu=mtu)
    port = set_bridge_port(name=name, hairpin=True, isolated=not icc)
    quiet = ((f"net/ipv6/conf/{name}/disable_ipv6", "1"),) if host_ipv6 else ()
    return Plan(name, (make,), quiet, (port, set_link(name=name, up=True)), announce)


def interface_config(record: EndpointRecord, *, host_ipv6: bool) -> dict[str, Any]:
    """Return what `orlop.linux.interfaces.configure` does inside: MAC and MTU are there from birth."""
    addresses = [f"{record.address}/{record.prefix}"]
    routes = [{"dst": "default", "gateway": record.gateway}]
    if record.address6:
        addresses.append(f"{record.address6}/{record.prefix6}")
        routes.append({"dst": "default", "gateway": record.gateway6})
    sysctls = {}
    if host_ipv6:
        prefix = f"net/ipv6/conf/{record.ifname}"
        sysctls = {f"{prefix}/disable_ipv6": "0" if record.address6 else "1", f"{prefix}/accept_ra": "0"}
    interface = {"name": record.ifname, "addresses": addresses, "routes": routes}
    return {"interfaces": [interface], "sysctls": sysctls}
