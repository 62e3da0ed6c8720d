"""Frames that tell neighbours an address's new MAC: gratuitous ARP (RFC 5227) and unsolicited NA (RFC 4861, 4.4)."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from orlop.formats.rtnetlink import mac_bytes

__all__ = ["announcement"]

ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0806, 0x86DD
ARP_REQUEST = 1
ICMPV6, NEIGHBOUR_ADVERTISEMENT, TARGET_LINK_LAYER = 58, 136, 2
OVERRIDE = 0x20000000
EVERYBODY = bytes.fromhex("ffffffffffff")
ALL_NODES_MAC, ALL_NODES = bytes.fromhex("333300000001"), IPv6Address("ff02::1")


def announcement(address: str, mac: str) -> bytes:
    """Return the Ethernet frame by which hosts that know `address` learn that it is at `mac`."""
    parsed, hardware = ip_address(address), mac_bytes(mac)
    return _arp(parsed, hardware) if isinstance(parsed, IPv4Address) else _advertisement(parsed, hardware)


def _arp(address: IPv4Address, mac: bytes) -> bytes:
    head = struct.pack(">HHBBH", 1, 0x0800, 6, 4, ARP_REQUEST)
    body = mac + address.packed + bytes(6) + address.packed
    return EVERYBODY + mac + struct.pack(">H", ETHERTYPE_ARP) + head + body


def _advertisement(address: IPv6Address, mac: bytes) -> bytes:
    option = struct.pack(">BB", TARGET_LINK_LAYER, 1) + mac
    body = struct.pack(">I", OVERRIDE) + address.packed + option
    size = 4 + len(body)
    pseudo = address.packed + ALL_NODES.packed + struct.pack(">II", size, ICMPV6)
    checksum = _checksum(pseudo + struct.pack(">BBH", NEIGHBOUR_ADVERTISEMENT, 0, 0) + body)
    message = struct.pack(">BBH", NEIGHBOUR_ADVERTISEMENT, 0, checksum) + body
    packet = struct.pack(">IHBB", 6 << 28, size, ICMPV6, 255) + address.packed + ALL_NODES.packed + message
    return ALL_NODES_MAC + mac + struct.pack(">H", ETHERTYPE_IPV6) + packet


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
