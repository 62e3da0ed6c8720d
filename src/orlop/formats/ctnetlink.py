"""Connection tracking entries as netlink messages (``linux/netfilter/nfnetlink_conntrack.h``).

Only what is needed to find entries by an address or a port and to delete them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import ip_address

from orlop.formats.netlink import NetlinkFormatError, NetlinkMessage, Request, attribute, nested, parse_attributes

__all__ = ["PROTOCOLS", "Flow", "Match", "delete_flow", "list_flows", "parse_flow"]

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}

_SUBSYSTEM = 1 << 8
IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE = _SUBSYSTEM | 1, _SUBSYSTEM | 2
AF_INET, AF_INET6 = 2, 10

CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ID, CTA_ZONE, CTA_FILTER = 1, 2, 12, 18, 25
CTA_FILTER_ORIG_FLAGS, CTA_FILTER_REPLY_FLAGS = 1, 2
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_IP_SRC = {4: 1, 6: 3}
CTA_IP_DST = {4: 2, 6: 4}
CTA_PROTO_NUM, CTA_PROTO_DST_PORT = 1, 3
# The kernel's own numbers of tuple fields (net/netfilter/nf_internals.h), part of the interface since Linux 5.8.
FILTER_IP_SRC, FILTER_PROTO_NUM, FILTER_DST_PORT = 1 << 0, 1 << 3, 1 << 5

_HEAD = struct.Struct(">BBH")  # family, version, resource
_PORT = struct.Struct(">H")
_FLAGS = struct.Struct("=I")


@dataclass(frozen=True, slots=True)
class Flow:
    """An entry. `identity` is its original tuple, id and zone as the kernel sent them: enough to delete this one."""

    version: int
    source: str  # of the first packet
    destination: str
    protocol: int
    port: int  # destination port of the first packet, 0 where there is none
    answering: str  # source of the answers: the destination after translation
    identity: bytes


@dataclass(frozen=True, slots=True)
class Match:
    """Which entries are meant: all the given ones of these must hold. Addresses are of IP `version`."""

    version: int
    source: str = ""
    answering: str = ""
    protocol: int = 0
    port: int = 0

    def holds(self, flow: Flow) -> bool:
        return (
            self.version == flow.version
            and self.source in ("", flow.source)
            and self.answering in ("", flow.answering)
            and self.protocol in (0, flow.protocol)
            and self.port in (0, flow.port)
        )


def _tuple(kind: int, version: int, source: str, protocol: int, port: int) -> bytes:
    parts = []
    if source:
        parts.append(nested(CTA_TUPLE_IP, [attribute(CTA_IP_SRC[version], ip_address(source).packed)]))
    if protocol:
        fields = [attribute(CTA_PROTO_NUM, bytes([protocol]))]
        if port:
            fields.append(attribute(CTA_PROTO_DST_PORT, _PORT.pack(port)))
        parts.append(nested(CTA_TUPLE_PROTO, fields))
    return nested(kind, parts) if parts else b""


def list_flows(match: Match) -> Request:
    """List entries. The kernel filters (Linux 5.8 and later); the caller checks with `Match.holds` all the same."""
    original = FILTER_IP_SRC * bool(match.source)
    if match.protocol:
        original |= FILTER_PROTO_NUM | FILTER_DST_PORT * bool(match.port)
    reply = FILTER_IP_SRC * bool(match.answering)
    payload = _HEAD.pack(AF_INET if match.version == 4 else AF_INET6, 0, 0)
    payload += _tuple(CTA_TUPLE_ORIG, match.version, match.source, match.protocol, match.port)
    payload += _tuple(CTA_TUPLE_REPLY, match.version, match.answering, 0, 0)
    flags = []
    if original:
        flags.append(attribute(CTA_FILTER_ORIG_FLAGS, _FLAGS.pack(original)))
    if reply:
        flags.append(attribute(CTA_FILTER_REPLY_FLAGS, _FLAGS.pack(reply)))
    if flags:
        payload += nested(CTA_FILTER, flags)
    return Request(IPCTNL_MSG_CT_GET, 0, payload, "list conntrack entries")


def delete_flow(flow: Flow) -> Request:
    """Delete this entry; ENOENT when it has ended meanwhile."""
    head = _HEAD.pack(AF_INET if flow.version == 4 else AF_INET6, 0, 0)
    return Request(IPCTNL_MSG_CT_DELETE, 0, head + flow.identity, f"delete conntrack entry to {flow.destination}")


def parse_flow(message: NetlinkMessage) -> Flow:
    """Read an entry. Raises `NetlinkFormatError`."""
    if len(message.payload) < _HEAD.size:
        raise NetlinkFormatError("conntrack message without a head")
    version = {AF_INET: 4, AF_INET6: 6}.get(message.payload[0], 0)
    if not version:
        raise NetlinkFormatError(f"conntrack entry of family {message.payload[0]}")
    attributes = parse_attributes(message.payload[_HEAD.size :])
    original = parse_attributes(attributes.get(CTA_TUPLE_ORIG, b""))
    reply = parse_attributes(attributes.get(CTA_TUPLE_REPLY, b""))
    addresses = parse_attributes(original.get(CTA_TUPLE_IP, b""))
    transport = parse_attributes(original.get(CTA_TUPLE_PROTO, b""))
    port = transport.get(CTA_PROTO_DST_PORT, b"\0\0")
    if len(port) != _PORT.size:
        raise NetlinkFormatError(f"a port of {len(port)} bytes")
    identity = attribute(CTA_TUPLE_ORIG | 0x8000, attributes.get(CTA_TUPLE_ORIG, b""))
    for kind in (CTA_ID, CTA_ZONE):
        if kind in attributes:
            identity += attribute(kind, attributes[kind])
    return Flow(
        version=version,
        source=_ip(version, addresses.get(CTA_IP_SRC[version], b"")),
        destination=_ip(version, addresses.get(CTA_IP_DST[version], b"")),
        protocol=transport.get(CTA_PROTO_NUM, b"\0")[0] if transport.get(CTA_PROTO_NUM) else 0,
        port=_PORT.unpack(port)[0],
        answering=_ip(version, parse_attributes(reply.get(CTA_TUPLE_IP, b"")).get(CTA_IP_SRC[version], b"")),
        identity=identity,
    )


def _ip(version: int, packed: bytes) -> str:
    if len(packed) != (4 if version == 4 else 16):
        raise NetlinkFormatError(f"{len(packed)} bytes are no IPv{version} address")
    return str(ip_address(packed))
