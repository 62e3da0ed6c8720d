"""Netlink messages: frames, attributes and acknowledgements (netlink(7), ``linux/netlink.h``).

Bytes in, values out. What comes from a socket is not trusted: anything that does not parse raises `NetlinkFormatError`.
`orlop.formats.rtnetlink` and `orlop.formats.ctnetlink` build requests with this; `orlop.linux.netlink` sends them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "NLM_F_ACK",
    "NLM_F_CREATE",
    "NLM_F_DUMP",
    "NLM_F_DUMP_INTR",
    "NLM_F_EXCL",
    "NLM_F_REPLACE",
    "NLM_F_REQUEST",
    "NLMSG_DONE",
    "NLMSG_ERROR",
    "NLMSG_NOOP",
    "Attributes",
    "NetlinkFormatError",
    "NetlinkMessage",
    "Request",
    "attribute",
    "decode",
    "encode",
    "nested",
    "outcome",
    "parse_attributes",
    "text",
]

NLM_F_REQUEST, NLM_F_ACK = 0x1, 0x4
NLM_F_DUMP_INTR = 0x10
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200  # on an acknowledgement
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400  # on a request that makes something
NLM_F_DUMP = 0x300  # on a request that reads

NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE = 1, 2, 3
NLMSGERR_ATTR_MSG = 1

NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_INT = struct.Struct("=i")
MAX_ATTRIBUTE = 0xFFFF - _ATTRIBUTE.size

Attributes = dict[int, bytes]


class NetlinkFormatError(ValueError):
    """Bytes that are no netlink message, or a value that does not fit into one."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the kernel is asked: a message without its sequence number. `what` says it in words, for errors."""

    type: int
    flags: int
    payload: bytes
    what: str = ""


@dataclass(frozen=True, slots=True)
class NetlinkMessage:
    """A message that was received."""

    type: int
    flags: int
    sequence: int
    port: int
    payload: bytes


def _aligned(size: int) -> int:
    return (size + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute, padded to four bytes."""
    if len(value) > MAX_ATTRIBUTE:
        raise NetlinkFormatError(f"attribute {kind} has {len(value)} bytes")
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + bytes(_aligned(size) - size)


def nested(kind: int, attributes: Iterable[bytes]) -> bytes:
    """Return one attribute that holds `attributes`."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """Return one attribute with a NUL-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def parse_attributes(data: bytes) -> Attributes:
    """Return the attributes in `data` by type (flag bits removed); of several with one type, the last."""
    found: Attributes = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < _ATTRIBUTE.size or offset + size > len(data):
            raise NetlinkFormatError(f"attribute of {size} bytes with {len(data) - offset} left")
        found[kind & NLA_TYPE_MASK] = data[offset + _ATTRIBUTE.size : offset + size]
        offset += _aligned(size)
    if offset < len(data):
        raise NetlinkFormatError(f"{len(data) - offset} bytes after the last attribute")
    return found


def encode(request: Request, sequence: int, flags: int = 0) -> bytes:
    """Return the frame of `request`, with `flags` added to its own."""
    size = _HEADER.size + len(request.payload)
    header = _HEADER.pack(size, request.type, request.flags | flags | NLM_F_REQUEST, sequence, 0)
    return header + request.payload + bytes(_aligned(size) - size)


def decode(data: bytes) -> list[NetlinkMessage]:
    """Return the messages of one datagram."""
    messages = []
    offset = 0
    while offset < len(data):
        if offset + _HEADER.size > len(data):
            raise NetlinkFormatError(f"{len(data) - offset} bytes are no message")
        size, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        if size < _HEADER.size or offset + size > len(data):
            raise NetlinkFormatError(f"message of {size} bytes with {len(data) - offset} left")
        payload = data[offset + _HEADER.size : offset + size]
        messages.append(NetlinkMessage(kind, flags, sequence, port, payload))
        offset += _aligned(size)
    return messages


def outcome(message: NetlinkMessage) -> tuple[int, str]:
    """Return (errno, the kernel's explanation) of an NLMSG_ERROR or NLMSG_DONE message; (0, "") means success."""
    if len(message.payload) < _INT.size:
        if message.type == NLMSG_DONE:
            return 0, ""
        raise NetlinkFormatError("an acknowledgement without a status")
    number = -_INT.unpack_from(message.payload)[0]
    if number < 0:
        raise NetlinkFormatError(f"an acknowledgement with status {-number}")
    return number, _explanation(message) if number else ""


def _explanation(message: NetlinkMessage) -> str:
    if not message.flags & NLM_F_ACK_TLVS:
        return ""
    offset = _INT.size
    if message.type == NLMSG_ERROR:  # the request's header follows, and unless capped its payload
        if len(message.payload) < offset + _HEADER.size:
            raise NetlinkFormatError("an acknowledgement without its request")
        size = _HEADER.unpack_from(message.payload, offset)[0]
        offset += _HEADER.size if message.flags & NLM_F_CAPPED else max(_aligned(size), _HEADER.size)
    explanation = parse_attributes(message.payload[offset:]).get(NLMSGERR_ATTR_MSG, b"")
    return explanation.rstrip(b"\0").decode(errors="replace")
