"""Reading an archive as a stream: entry by entry, each with its body, in bounded memory.

The reader pulls its bytes from a function that returns the next block of any size, and b"" at the end; it never
reads ahead of what it was asked for, but for the rest of a block. Extensions (pax headers, GNU long names, sparse
maps) are bounded, so that no input makes it hold more than a few MiB. Any input ends in entries or in `TarError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orlop.formats.tar import header, pax, sparse
from orlop.formats.tar.entry import Entry, Kind, TarError
from orlop.formats.tar.header import BLOCK, Header, padded

__all__ = ["MAX_EXTENSION", "TarReader"]

MAX_EXTENSION = 1 << 20
"""Bytes that one pax header or long name may have, as in Go's archive/tar."""

_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,
    b"S": Kind.FILE,
    b"1": Kind.LINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHAR,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}
_MAX_EXTENSIONS = 64  # in a row, before an entry; two are usual


class TarReader:
    """Iterates over the entries. The body of the present entry comes from `body`; what is left of it is skipped."""

    def __init__(self, read: Callable[[], bytes | memoryview]) -> None:
        self._read = read
        self._chunk = memoryview(b"")
        self._global: dict[str, bytes] = {}
        self._body = 0  # bytes left of the present body
        self._padding = 0
        self._ended = False

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self.next()) is not None:
            yield entry

    def next(self) -> Entry | None:
        """Return the next entry, None at the end. Raises `TarError`."""
        self._skip()
        extended: list[tuple[str, bytes]] = []
        name = linkname = None
        for _ in range(_MAX_EXTENSIONS):
            head = self._next_header()
            if head is None:
                if extended or name or linkname:
                    raise TarError("archive/tar: unexpected end of the archive")
                return None
            kind = head.typeflag
            if kind == b"x" or kind == b"X":
                extended = pax.parse(self._extension(head))
            elif kind == b"g":
                self._set_globals(pax.parse(self._extension(head)))
            elif kind == b"L":
                name = header.text(self._extension(head))
            elif kind == b"K":
                linkname = header.text(self._extension(head))
            else:
                return self._entry(head, name, linkname, extended)
        raise TarError("archive/tar: too many extended headers")

    def body(self) -> Iterator[memoryview]:
        """Yield what is left of the present body, in blocks as they came; of a sparse file its data alone."""
        while self._body:
            if not self._chunk:
                self._fill()
            part = self._chunk[: self._body]
            self._chunk = self._chunk[len(part) :]
            self._body -= len(part)
            yield part

    def drain(self) -> None:
        """Read to the end of the stream, so that whoever hashes it sees all."""
        self._chunk = memoryview(b"")
        self._ended = True
        while self._read():
            pass

    def _entry(self, head: Header, name: str | None, linkname: str | None, extended: list[tuple[str, bytes]]) -> Entry:
        flag = head.typeflag
        entry = Entry(
            name=head.name if name is None else name,
            kind=_KINDS.get(flag, Kind.OTHER),
            size=head.size,
            mode=head.mode & 0o7777,
            uid=head.uid,
            gid=head.gid,
            mtime=head.mtime * 10**9,
            linkname=head.linkname if linkname is None else linkname,
            typeflag=flag,
        )
        entry.uname, entry.gname = head.owners
        if entry.kind in (Kind.CHAR, Kind.BLOCK):
            entry.major, entry.minor = head.device
        sparse_records = _apply(entry, [*self._global.items(), *extended]) if extended or self._global else {}
        if entry.kind is Kind.FILE and entry.name.endswith("/") and flag in (b"\0", b"0"):
            entry.kind = Kind.DIRECTORY  # how archives older than ustar name one
        if entry.kind not in (Kind.FILE, Kind.OTHER):
            entry.size = 0  # these have no body, whatever the field says
        if entry.size < 0 or "\0" in entry.name or "\0" in entry.linkname:
            raise TarError("archive/tar: invalid tar header")
        entry.stored = entry.size
        self._body, self._padding = entry.size, padded(entry.size) - entry.size
        if flag == b"S":
            self._old_gnu_sparse(entry, head)
        elif sparse_records and entry.kind is Kind.FILE:
            self._pax_sparse(entry, sparse_records)
        return entry

    def _old_gnu_sparse(self, entry: Entry, head: Header) -> None:
        if not head.gnu:
            raise TarError("archive/tar: invalid sparse map")
        entry.size = header.number(head.block[483:495])
        entry.sparse = sparse.check(sparse.old_gnu(head.block, self._block), entry.size, entry.stored)

    def _pax_sparse(self, entry: Entry, records: dict[str, list[bytes]]) -> None:
        def last(key: str) -> bytes:
            return records[key][-1]

        for key in ("GNU.sparse.realsize", "GNU.sparse.size"):
            if key in records:
                entry.size = _integer(last(key))
                break
        if "GNU.sparse.name" in records:
            entry.name = _text(last("GNU.sparse.name"))
        if "GNU.sparse.map" in records:
            text = last("GNU.sparse.map")
            map_ = sparse.from_pairs(text.split(b",") if text else [])
        elif "GNU.sparse.offset" in records:
            offsets, lengths = records["GNU.sparse.offset"], records.get("GNU.sparse.numbytes", [])
            if len(offsets) != len(lengths):
                raise TarError("archive/tar: invalid sparse map")
            map_ = sparse.from_pairs(item for pair in zip(offsets, lengths, strict=True) for item in pair)
        elif records.get("GNU.sparse.major", [b""])[-1] == b"1":
            map_, taken = sparse.in_body(self._body_block)
            entry.stored -= taken
        else:
            return
        entry.sparse = sparse.check(map_, entry.size, entry.stored)

    def _next_header(self) -> Header | None:
        """Return the next header block, None at the end of the archive (which need not be marked)."""
        if self._ended:
            return None
        if not self._chunk:
            self._chunk = memoryview(self._read())
        head = header.decode(self._block()) if self._chunk else None
        self._ended = head is None
        return head

    def _extension(self, head: Header) -> bytes:
        if not 0 <= head.size <= MAX_EXTENSION:
            raise TarError("archive/tar: extended header too large")
        return self._take(padded(head.size))[: head.size]

    def _set_globals(self, records: list[tuple[str, bytes]]) -> None:
        if len(self._global) + len(records) > 4096:
            raise TarError("archive/tar: too many global headers")
        self._global.update(records)

    def _body_block(self) -> bytes:
        """Take one block off the present body."""
        if self._body < BLOCK:
            raise TarError("archive/tar: invalid sparse map")
        self._body -= BLOCK
        return self._block()

    def _block(self) -> bytes:
        if len(self._chunk) >= BLOCK:
            block = bytes(self._chunk[:BLOCK])
            self._chunk = self._chunk[BLOCK:]
            return block
        return self._take(BLOCK)

    def _take(self, count: int) -> bytes:
        parts: list[memoryview] = []
        while count:
            if not self._chunk:
                self._fill()
            part = self._chunk[:count]
            self._chunk = self._chunk[len(part) :]
            count -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _skip(self) -> None:
        """Go to the end of the present file; the padding of the last one may be missing, as in docker's contexts."""
        while self._body:
            if not self._chunk:
                self._fill()
            self._body -= self._step(self._body)
        while self._padding:
            if not self._chunk:
                self._chunk = memoryview(self._read())
            self._ended = self._ended or not self._chunk
            self._padding = 0 if self._ended else self._padding - self._step(self._padding)

    def _step(self, most: int) -> int:
        """Drop what is at hand, `most` bytes of it; return how many they were."""
        step = min(most, len(self._chunk))
        self._chunk = self._chunk[step:]
        return step

    def _fill(self) -> None:
        self._chunk = memoryview(self._read())
        if not self._chunk:
            raise TarError("unexpected EOF")


def _apply(entry: Entry, records: list[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    """Overlay the pax records on `entry`; return those of a sparse file, which may repeat."""
    sparse_records: dict[str, list[bytes]] = {}
    for key, value in records:
        if key.startswith("GNU.sparse."):
            sparse_records.setdefault(key, []).append(value)
        elif (attribute := pax.xattr_name(key)) is not None:
            if attribute and "\0" not in attribute:
                entry.xattrs[attribute] = value
        elif not value:
            continue  # an empty value takes the record back
        elif key == "path":
            entry.name = _text(value)
        elif key == "linkpath":
            entry.linkname = _text(value)
        elif key == "size":
            entry.size = _integer(value)
        elif key == "uid":
            entry.uid = _integer(value)
        elif key == "gid":
            entry.gid = _integer(value)
        elif key == "mtime":
            entry.mtime = pax.parse_time(value)
        elif key == "uname":
            entry.uname = _text(value)
        elif key == "gname":
            entry.gname = _text(value)
    return sparse_records


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _integer(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:
        raise TarError("archive/tar: invalid pax header")
    return int(value)
