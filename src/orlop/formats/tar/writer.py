"""Writing an archive: the header blocks of an entry, the padding of its body, the end mark.

The same entry always gives the same bytes. A value that the ustar header cannot hold goes into a pax header; times
are whole seconds unless `Entry.mtime` has a fraction. Sparse files are written as ordinary ones.
"""

from __future__ import annotations

from orlop.formats.tar import pax
from orlop.formats.tar.entry import Entry, Kind
from orlop.formats.tar.header import BLOCK, encode_number, padded

__all__ = ["END", "encode", "padding"]

END = bytes(2 * BLOCK)
"""What ends an archive."""

_FLAGS = {
    Kind.FILE: b"0",
    Kind.LINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHAR: b"3",
    Kind.BLOCK: b"4",
    Kind.DIRECTORY: b"5",
    Kind.FIFO: b"6",
}
_MAX_ID = 0o7777777
_MAX_SIZE = 0o77777777777


def encode(entry: Entry) -> bytes:
    """Return the header of `entry`; its body of `entry.size` bytes and `padding` follow (for a file)."""
    name, linkname = _bytes(entry.name), _bytes(entry.linkname)
    if entry.kind is Kind.DIRECTORY and not name.endswith(b"/"):
        name += b"/"
    size = entry.size if entry.kind is Kind.FILE else 0
    seconds, fraction = divmod(entry.mtime, 10**9)
    records: list[tuple[str, bytes]] = []
    prefix, short = _split(name)
    if short is None:
        records.append(("path", name))
        short = name[:100]
    if len(linkname) > 100:
        records.append(("linkpath", linkname))
    if size > _MAX_SIZE:
        records.append(("size", b"%d" % size))
    if not 0 <= entry.uid <= _MAX_ID:
        records.append(("uid", b"%d" % entry.uid))
    if not 0 <= entry.gid <= _MAX_ID:
        records.append(("gid", b"%d" % entry.gid))
    if fraction or not 0 <= seconds <= _MAX_SIZE:
        records.append(("mtime", _time(entry.mtime)))
    records += [(pax.XATTR + key, value) for key, value in sorted(entry.xattrs.items())]
    head = b""
    if records:
        body = pax.encode(records)
        head = _block(b"PaxHeaders.0/" + short[-80:].strip(b"/"), b"x", Entry("", size=len(body)), len(body), 0)
        head += body + padding(len(body))
    kept = 0 if any(key == "size" for key, _ in records) else size
    shown = seconds if 0 <= seconds <= _MAX_SIZE else 0
    return head + _block(short, _FLAGS[entry.kind], entry, kept, shown, prefix, linkname[:100])


def padding(size: int) -> bytes:
    """Return the zeros that follow a body of `size` bytes."""
    return bytes(padded(size) - size)


def _block(
    name: bytes, flag: bytes, entry: Entry, size: int, mtime: int, prefix: bytes = b"", linkname: bytes = b""
) -> bytes:
    device = entry.kind in (Kind.CHAR, Kind.BLOCK) and flag in (b"3", b"4")
    start = b"%b%07o\0%07o\0%07o\0%b%b" % (
        name.ljust(100, b"\0"),
        entry.mode & 0o7777,
        entry.uid if 0 <= entry.uid <= _MAX_ID else 0,
        entry.gid if 0 <= entry.gid <= _MAX_ID else 0,
        encode_number(size, 12),
        encode_number(mtime, 12),
    )
    end = b"%b%bustar\x0000%b%b%b%b%b" % (
        flag,
        linkname.ljust(100, b"\0"),
        _bytes(entry.uname)[:31].ljust(32, b"\0"),
        _bytes(entry.gname)[:31].ljust(32, b"\0"),
        encode_number(entry.major, 8) if device else bytes(8),
        encode_number(entry.minor, 8) if device else bytes(8),
        prefix.ljust(167, b"\0"),
    )
    checksum = sum(start) + 8 * 0x20 + sum(end)  # its own field counts as spaces
    return b"%b%06o\0 %b" % (start, checksum, end)


def _split(name: bytes) -> tuple[bytes, bytes | None]:
    """Part a name into the header's prefix and name; None when it does not fit."""
    if len(name) <= 100:
        return b"", name
    cut = name.rfind(b"/", 0, 156)
    while cut > 0 and cut >= len(name) - 101:
        if 0 < len(name) - cut - 1 <= 100:
            return name[:cut], name[cut + 1 :]
        cut = name.rfind(b"/", 0, cut)
    return b"", None


def _time(ns: int) -> bytes:
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    seconds, fraction = divmod(ns, 10**9)
    return f"{sign}{seconds}.{fraction:09d}".rstrip("0").rstrip(".").encode()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
