"""The old packet filter of the kernel (``iptables-legacy``), which nftables does not show: the policy of a chain.

``linux/netfilter_ipv4/ip_tables.h`` and its IPv6 twin. Nothing is loaded by looking.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from pathlib import Path

__all__ = ["forward_policy"]

NAMES = {4: "net/ip_tables_names", 6: "net/ip6_tables_names"}
SO_GET_INFO, SO_GET_ENTRIES = 64, 65
FORWARD = 2  # the number of the hook
TARGET_OFFSET = {4: 88, 6: 140}  # where an entry says how far its target is
VERDICT_OFFSET = 32  # within a standard target
VERDICTS = {-1: "drop", -2: "accept"}

_INFO = struct.Struct("=32sI5I5III")  # name, valid hooks, first entries, policies' entries, number, size
_ENTRIES = struct.Struct("=32sI4x")


def forward_policy(version: int) -> str:
    """Return ``drop`` or ``accept``, the policy of the legacy FORWARD chain; "" when there is none."""
    if "filter" not in _tables(version):
        return ""
    info = _INFO.unpack(_query(version, SO_GET_INFO, _INFO.pack(b"filter", *[0] * 13), _INFO.size))
    underflow, size = info[7 + FORWARD], info[13]
    head = _ENTRIES.pack(b"filter", size)
    entries = _query(version, SO_GET_ENTRIES, head, len(head) + size)[len(head) :]
    (target,) = struct.unpack_from("=H", entries, underflow + TARGET_OFFSET[version])
    (verdict,) = struct.unpack_from("=i", entries, underflow + target + VERDICT_OFFSET)
    return VERDICTS.get(verdict, "")


def _tables(version: int) -> list[str]:
    try:
        return Path("/proc/thread-self", NAMES[version]).read_text().split()
    except FileNotFoundError:
        return []


def _query(version: int, option: int, question: bytes, size: int) -> bytes:
    """getsockopt(2) with a question in the buffer, which the socket module cannot ask."""
    family, level = (socket.AF_INET, socket.IPPROTO_IP) if version == 4 else (socket.AF_INET6, socket.IPPROTO_IPV6)
    buffer = ctypes.create_string_buffer(question, size)
    length = ctypes.c_uint32(size)
    libc = ctypes.CDLL(None, use_errno=True)
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        if libc.getsockopt(sock.fileno(), level, option, buffer, ctypes.byref(length)):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), NAMES[version])
    return buffer.raw[: length.value]
