"""Links, addresses and routes as netlink messages (rtnetlink(7)).

The requests are values: a plan is a list of them, which `orlop.linux.netlink.Netlink.perform` carries out in order.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
)

from orlop.formats.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Attributes,
    NetlinkFormatError,
    NetlinkMessage,
    Request,
    attribute,
    nested,
    parse_attributes,
    text,
)

__all__ = [
    "IFF_UP",
    "Address",
    "Link",
    "Route",
    "add_address",
    "add_bridge",
    "add_route",
    "add_veth",
    "delete_address",
    "delete_link",
    "delete_neighbour",
    "list_addresses",
    "list_links",
    "list_routes",
    "mac_bytes",
    "parse_address",
    "parse_link",
    "parse_route",
    "set_bridge_port",
    "set_link",
]

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTM_DELNEIGH = 29

AF_UNSPEC, AF_INET, AF_INET6 = 0, 2, 10
IFF_UP = 1
IFNAMSIZ = 16

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO, IFLA_IFALIAS, IFLA_NET_NS_FD = 1, 3, 4, 10, 18, 20, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 4, 33
VETH_INFO_PEER = 1
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
IFA_F_NODAD = 0x02
NDA_DST = 1
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE = 1, 4, 5, 15
RT_TABLE_MAIN, RTPROT_BOOT, RTN_UNICAST = 254, 3, 1
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253

_LINK = struct.Struct("=BxHiII")  # family, hardware type, index, flags, mask of flags to change
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # family, dst bits, src bits, tos, table, protocol, scope, type, flags
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type
_U32 = struct.Struct("=I")


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface."""

    index: int
    name: str
    flags: int
    mtu: int
    mac: str
    master: int  # index of the bridge it is a port of, or 0
    kind: str  # bridge, veth…, "" for hardware
    alias: str

    @property
    def up(self) -> bool:
        return bool(self.flags & IFF_UP)


@dataclass(frozen=True, slots=True)
class Address:
    """An address of an interface."""

    index: int
    interface: IPv4Interface | IPv6Interface
    scope: int


@dataclass(frozen=True, slots=True)
class Route:
    """A route; `destination` is None for a default route."""

    table: int
    destination: IPv4Network | IPv6Network | None
    gateway: str
    index: int


def mac_bytes(mac: str) -> bytes:
    """Return the six bytes of ``02:42:ac:11:00:02``. Raises `NetlinkFormatError`."""
    parts = mac.replace("-", ":").split(":")
    try:
        value = bytes(int(part, 16) for part in parts if len(part) == 2)
    except ValueError:
        value = b""
    if len(value) != 6 or len(parts) != 6:
        raise NetlinkFormatError(f"no MAC address: {mac!r}")
    return value


def _u32(kind: int, value: int) -> bytes:
    return attribute(kind, _U32.pack(value))


def _name(name: str) -> bytes:
    if not name or len(name.encode()) >= IFNAMSIZ:
        raise NetlinkFormatError(f"no interface name: {name!r}")
    return text(IFLA_IFNAME, name)


def _link(
    *,
    name: str | None = None,
    mac: str = "",
    mtu: int = 0,
    master: int | None = None,
    alias: str | None = None,
    netns: int | None = None,
) -> bytes:
    parts = []
    if name is not None:
        parts.append(_name(name))
    if mac:
        parts.append(attribute(IFLA_ADDRESS, mac_bytes(mac)))
    if mtu:
        parts.append(_u32(IFLA_MTU, mtu))
    if master is not None:
        parts.append(_u32(IFLA_MASTER, master))
    if alias is not None:
        parts.append(attribute(IFLA_IFALIAS, alias.encode()))
    if netns is not None:
        parts.append(_u32(IFLA_NET_NS_FD, netns))
    return b"".join(parts)


def add_bridge(name: str, mac: str = "") -> Request:
    """Make a bridge, down."""
    kind = nested(IFLA_LINKINFO, [text(IFLA_INFO_KIND, "bridge")])
    payload = _LINK.pack(AF_UNSPEC, 0, 0, 0, 0) + _link(name=name, mac=mac) + kind
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, payload, f"add bridge {name}")


def add_veth(
    name: str, *, peer: str, peer_mac: str = "", netns: int | None = None, master: int | None = None, mtu: int = 0
) -> Request:
    """Make a veth pair, down: `name` here (a port of `master`), `peer` born in the namespace of descriptor `netns`."""
    other = _LINK.pack(AF_UNSPEC, 0, 0, 0, 0) + _link(name=peer, mac=peer_mac, mtu=mtu, netns=netns)
    data = nested(IFLA_INFO_DATA, [attribute(VETH_INFO_PEER, other)])
    info = nested(IFLA_LINKINFO, [text(IFLA_INFO_KIND, "veth"), data])
    payload = _LINK.pack(AF_UNSPEC, 0, 0, 0, 0) + _link(name=name, mtu=mtu, master=master) + info
    return Request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, payload, f"add veth {name}")


def set_link(
    index: int = 0,
    *,
    name: str = "",
    up: bool | None = None,
    new_name: str = "",
    mac: str = "",
    mtu: int = 0,
    master: int | None = None,
    alias: str | None = None,
) -> Request:
    """Change a link, found by `index` or, without one, by `name`."""
    flags = 0 if up is None else IFF_UP * up
    head = _LINK.pack(AF_UNSPEC, 0, index, flags, 0 if up is None else IFF_UP)
    found_by = b"" if index else _name(name)
    payload = head + found_by + _link(name=new_name or None, mac=mac, mtu=mtu, master=master, alias=alias)
    return Request(RTM_NEWLINK, 0, payload, f"change link {name or index}")


def set_bridge_port(index: int = 0, *, name: str = "", hairpin: bool, isolated: bool) -> Request:
    """Change a port of a bridge: may frames go out where they came in, is it cut off from other isolated ports."""
    options = [
        attribute(IFLA_BRPORT_MODE, bytes([hairpin])),
        attribute(IFLA_BRPORT_ISOLATED, bytes([isolated])),
    ]
    info = nested(IFLA_LINKINFO, [text(IFLA_INFO_SLAVE_KIND, "bridge"), nested(IFLA_INFO_SLAVE_DATA, options)])
    payload = _LINK.pack(AF_UNSPEC, 0, index, 0, 0) + (b"" if index else _name(name)) + info
    return Request(RTM_NEWLINK, 0, payload, f"change bridge port {name or index}")


def delete_link(index: int = 0, *, name: str = "") -> Request:
    """Delete a link; of a veth pair both ends go."""
    payload = _LINK.pack(AF_UNSPEC, 0, index, 0, 0) + (b"" if index else _name(name))
    return Request(RTM_DELLINK, 0, payload, f"delete link {name or index}")


def list_links() -> Request:
    return Request(RTM_GETLINK, 0, _LINK.pack(AF_UNSPEC, 0, 0, 0, 0), "list links")


def _address(index: int, address: str) -> bytes:
    interface = ip_interface(address)
    prefix = interface.network.prefixlen
    family = AF_INET if interface.version == 4 else AF_INET6
    parts = [
        _ADDRESS.pack(family, prefix, 0, RT_SCOPE_UNIVERSE, index),
        attribute(IFA_LOCAL, interface.packed),
        attribute(IFA_ADDRESS, interface.packed),
    ]
    if isinstance(interface, IPv4Interface) and prefix < 31:
        parts.append(attribute(IFA_BROADCAST, interface.network.broadcast_address.packed))
    if interface.version == 6:  # duplicate detection would leave it unusable for two seconds
        parts.append(_u32(IFA_FLAGS, IFA_F_NODAD))
    return b"".join(parts)


def add_address(index: int, address: str) -> Request:
    """Give an interface an address in CIDR form; an IPv6 one is usable at once. Having it already is no error."""
    return Request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, _address(index, address), f"add address {address}")


def delete_address(index: int, address: str) -> Request:
    return Request(RTM_DELADDR, 0, _address(index, address), f"delete address {address}")


def list_addresses() -> Request:
    return Request(RTM_GETADDR, 0, _ADDRESS.pack(AF_UNSPEC, 0, 0, 0, 0), "list addresses")


def add_route(index: int, destination: str, gateway: str = "") -> Request:
    """Add a route: `destination` is a CIDR or ``default`` (then the gateway's family is meant)."""
    via = ip_address(gateway) if gateway else None
    if destination == "default":
        if via is None:
            raise NetlinkFormatError("a default route wants a gateway")
        version, bits, target = via.version, 0, b""
    else:
        network = ip_interface(destination).network
        version, bits = network.version, network.prefixlen
        target = attribute(RTA_DST, network.network_address.packed)
    family = AF_INET if version == 4 else AF_INET6
    scope = RT_SCOPE_UNIVERSE if via or version == 6 else RT_SCOPE_LINK
    head = _ROUTE.pack(family, bits, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0)
    hop = attribute(RTA_GATEWAY, via.packed) if via else b""
    payload = head + target + hop + _u32(RTA_OIF, index)
    return Request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, payload, f"add route {destination} via {gateway}")


def list_routes(version: int) -> Request:
    """List the routes of IP `version` 4 or 6."""
    family = AF_INET if version == 4 else AF_INET6
    return Request(RTM_GETROUTE, 0, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), f"list IPv{version} routes")


def delete_neighbour(index: int, address: str) -> Request:
    """Forget the MAC of a neighbour; ENOENT when none is known."""
    parsed = ip_address(address)
    head = _NEIGHBOUR.pack(AF_INET if parsed.version == 4 else AF_INET6, index, 0, 0, 0)
    return Request(RTM_DELNEIGH, 0, head + attribute(NDA_DST, parsed.packed), f"delete neighbour {address}")


def _unpack(form: struct.Struct, message: NetlinkMessage) -> tuple[tuple[int, ...], Attributes]:
    if len(message.payload) < form.size:
        raise NetlinkFormatError(f"message of type {message.type} with {len(message.payload)} bytes")
    return form.unpack_from(message.payload), parse_attributes(message.payload[form.size :])


def _number(attributes: Attributes, kind: int) -> int:
    value = attributes.get(kind, b"\0\0\0\0")
    if len(value) != _U32.size:
        raise NetlinkFormatError(f"attribute {kind} has {len(value)} bytes")
    return int(_U32.unpack(value)[0])


def _string(attributes: Attributes, kind: int) -> str:
    return attributes.get(kind, b"").rstrip(b"\0").decode(errors="replace")


def parse_link(message: NetlinkMessage) -> Link:
    """Read an RTM_NEWLINK message."""
    (_, _, index, flags, _), attributes = _unpack(_LINK, message)
    info = parse_attributes(attributes.get(IFLA_LINKINFO, b""))
    return Link(
        index=index,
        name=_string(attributes, IFLA_IFNAME),
        flags=flags,
        mtu=_number(attributes, IFLA_MTU),
        mac=attributes.get(IFLA_ADDRESS, b"").hex(":"),
        master=_number(attributes, IFLA_MASTER),
        kind=_string(info, IFLA_INFO_KIND),
        alias=_string(attributes, IFLA_IFALIAS),
    )


def parse_address(message: NetlinkMessage) -> Address:
    """Read an RTM_NEWADDR message."""
    (family, prefix, _, scope, index), attributes = _unpack(_ADDRESS, message)
    packed = attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS, b"")
    try:
        address = _ip(family, packed)
        return Address(index, ip_interface(f"{address}/{prefix}"), scope)
    except ValueError as error:
        raise NetlinkFormatError(f"address message: {error}") from error


def parse_route(message: NetlinkMessage) -> Route:
    """Read an RTM_NEWROUTE message."""
    (family, bits, _, _, table, *_), attributes = _unpack(_ROUTE, message)
    try:
        gateway = str(_ip(family, attributes[RTA_GATEWAY])) if attributes.get(RTA_GATEWAY) else ""
        packed = attributes.get(RTA_DST)
        destination = ip_interface(f"{_ip(family, packed)}/{bits}").network if packed else None
    except ValueError as error:
        raise NetlinkFormatError(f"route message: {error}") from error
    return Route(_number(attributes, RTA_TABLE) or table, destination, gateway, _number(attributes, RTA_OIF))


def _ip(family: int, packed: bytes) -> IPv4Address | IPv6Address:
    if len(packed) != {AF_INET: 4, AF_INET6: 16}.get(family):
        raise NetlinkFormatError(f"{len(packed)} bytes are no address of family {family}")
    return ip_address(packed)
