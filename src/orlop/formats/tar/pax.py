"""Extended headers of pax archives (pax(1), "pax Extended Header"): records of ``length key=value``."""

from __future__ import annotations

from collections.abc import Iterable

from orlop.formats.tar.entry import TarError

__all__ = ["XATTR", "encode", "parse", "parse_time", "xattr_name"]

XATTR = "SCHILY.xattr."
"""What the key of an extended attribute starts with."""

_INVALID = "archive/tar: invalid pax header"


def parse(data: bytes) -> list[tuple[str, bytes]]:
    """Return the records in their order, keys may repeat. Raises `TarError`."""
    records: list[tuple[str, bytes]] = []
    position = 0
    end = len(data)
    while position < end:
        if data[position] == 0:  # some writers pad with zeros
            break
        space = data.find(b" ", position, position + 20)
        digits = data[position:space]
        if space < 0 or not digits.isdigit():
            raise TarError(_INVALID)
        stop = position + int(digits)
        equals = data.find(b"=", space, stop)
        if stop > end or stop <= space + 1 or data[stop - 1] != 0x0A or equals <= space + 1:
            raise TarError(_INVALID)
        key = data[space + 1 : equals].decode("utf-8", "surrogateescape")
        records.append((key, data[equals + 1 : stop - 1]))
        position = stop
    return records


def encode(records: Iterable[tuple[str, bytes]]) -> bytes:
    """Return the records as the body of an extended header."""
    return b"".join(_encode(key, value) for key, value in records)


def _encode(key: str, value: bytes) -> bytes:
    rest = b" " + key.encode("utf-8", "surrogateescape") + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def parse_time(value: bytes) -> int:
    """Return a time in decimal seconds as ns. Raises `TarError`."""
    whole, _, fraction = value.partition(b".")
    negative = whole.startswith(b"-")
    digits = whole[1:] if negative else whole
    if not digits.isdigit() or len(digits) > 18 or (fraction and not fraction.isdigit()):
        raise TarError(_INVALID)
    ns = int(digits) * 10**9 + int(fraction[:9].ljust(9, b"0"))
    return -ns if negative else ns


def xattr_name(key: str) -> str | None:
    """Return the name of the extended attribute that `key` holds, None if it holds none."""
    return key[len(XATTR) :] if key.startswith(XATTR) else None
