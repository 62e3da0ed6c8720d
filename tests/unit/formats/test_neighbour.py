"""Announcements of an address's MAC, byte by byte."""

from __future__ import annotations

from orlop.formats.neighbour import announcement


def test_an_ipv4_address_is_announced_by_gratuitous_arp() -> None:
    assert announcement("172.17.0.2", "02:42:ac:11:00:02").hex(" ", 2) == (
        "ffff ffff ffff 0242 ac11 0002 0806 0001 0800 0604 0001 0242 ac11 0002 ac11 0002 0000 0000 0000 ac11 0002"
    )


def test_an_ipv6_address_is_announced_with_a_right_checksum() -> None:
    frame = announcement("fd00::2", "02:42:ac:11:00:02")
    assert frame[:14].hex() == "3333000000010242ac11000286dd"
    packet = frame[14:]
    assert packet[6:8] == bytes([58, 255])  # ICMPv6, hop limit as RFC 4861 demands
    summed = packet[8:40] + bytes([0, 0, 0, len(packet) - 40, 0, 0, 0, 58]) + packet[40:]
    total = sum(int.from_bytes(summed[i : i + 2]) for i in range(0, len(summed), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF
