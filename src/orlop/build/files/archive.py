"""Archives that ADD unpacks: told by what is in them, and laid out above the base as if tar(1) did it there.

Names and links are hostile. A directory on the way may be a link of the base (/bin to usr/bin): it is followed inside
the root, as everywhere. Nothing is ever taken from outside of it.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable

from orlop.build.files.layout import Layout, Owner
from orlop.build.files.trees import Found
from orlop.errors import Error, InvalidArgument
from orlop.formats.tar.entry import Entry, Kind
from orlop.formats.tar.header import decode
from orlop.formats.tar.reader import TarReader
from orlop.formats.tar.sparse import filled
from orlop.image.attributes import normalized
from orlop.image.compression import MAGIC_LENGTH, Read, decompressed, detect

__all__ = ["is_archive", "unpack"]

_BLOCK = 256 << 10
_HEADER = 512
_MOST_ENTRIES = 2_000_000
_MOST_BYTES = 1 << 40
_CAPABILITY = "security.capability"


def is_archive(fd: int) -> bool:
    """Tell whether a file is a tar, compressed or not. The descriptor has moved afterwards."""
    start = os.pread(fd, MAGIC_LENGTH, 0)
    os.lseek(fd, 0, os.SEEK_SET)
    read = decompressed(_reading(fd), detect(start))
    head = b""
    try:
        while len(head) < _HEADER and (block := read()):
            head += block
        return len(head) >= _HEADER and decode(head[:_HEADER]) is not None
    except Error:
        return False


def unpack(fd: int, layout: Layout, place: str, owner: Owner | None, check: Callable[[], None]) -> None:
    """Unpack the archive at the beginning of `fd` into the directory `place`, which is the root for all its paths.

    Raises `InvalidArgument`.
    """
    reader = TarReader(decompressed(_reading(fd), detect(os.pread(fd, MAGIC_LENGTH, 0))))
    entries = size = 0
    while (entry := reader.next()) is not None:
        check()
        entries += 1
        size += entry.size
        if entries > _MOST_ENTRIES or size > _MOST_BYTES:
            raise InvalidArgument("the archive is too large to be unpacked")
        _lay_out(entry, reader, layout, place, owner)


def _lay_out(entry: Entry, reader: TarReader, layout: Layout, place: str, owner: Owner | None) -> None:
    name = normalized(posixpath.join("/", entry.name))  # what leads out of the root stays at it
    if not name or entry.kind is Kind.OTHER:
        return
    path = _path(layout, place, name, make=True)
    item = _found(path, entry, owner)
    if entry.kind is Kind.DIRECTORY:
        layout.unpack_directory(path, item)
    elif entry.kind is Kind.LINK:
        target = normalized(posixpath.join("/", entry.linkname))
        layout.unpack_link(path, _path(layout, place, target), item)
    elif entry.kind is Kind.FILE:
        body = reader.body()
        layout.unpack_file(path, item, body if entry.sparse is None else filled(entry.sparse, entry.size, body))
    else:
        layout.unpack_other(path, item)


def _path(layout: Layout, place: str, name: str, *, make: bool = False) -> str:
    """Return where a name leads below `place`; links are followed but for the last part."""
    parent, _, last = name.rpartition("/")
    above = layout.destination(f"/{parent}", place)
    if make:
        layout.make_directories(above)
    return f"{above}/{last}".strip("/")


def _found(path: str, entry: Entry, owner: Owner | None) -> Found:
    uid, gid = owner or (entry.uid, entry.gid)
    kind = Kind.FILE if entry.kind is Kind.LINK else entry.kind
    return Found(
        path,
        kind,
        entry.mode & 0o7777,
        uid,
        gid,
        size=entry.size,
        mtime=max(0, min(entry.mtime, 1 << 62)),
        target=entry.linkname if entry.kind is Kind.SYMLINK else "",
        major=entry.major,
        minor=entry.minor,
        capability=entry.xattrs.get(_CAPABILITY, b""),
    )


def _reading(fd: int) -> Read:
    return lambda: os.read(fd, _BLOCK)
