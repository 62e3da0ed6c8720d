"""Spooling an archive: its members come in any order, the index often last, and each is read once.

What looks like a layer (a tar, compressed or not) is unpacked at once, several side by side; small members are kept in
memory; links are noted. Which of them are wanted is decided when all have come (`orlop.image.archive.load`).
"""

from __future__ import annotations

import posixpath
import re
from collections import deque
from collections.abc import Iterator

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.formats.tar.entry import Entry, Kind, TarError
from orlop.formats.tar.header import BLOCK, decode
from orlop.formats.tar.reader import TarReader
from orlop.image.archive.progress import Meter, Report
from orlop.image.compression import Compression, Read, detect
from orlop.image.depot import Depot
from orlop.image.intake import LayerIntake, TakenLayer
from orlop.image.layers import diff_name
from orlop.image.leases import Lease
from orlop.image.unpack import Limits

__all__ = ["Spool", "spool"]

_MAX_DOCUMENT = 8 << 20
_MAX_DOCUMENTS = 64 << 20  # bytes in all
_MAX_MEMBERS = 100_000
_SIDE_BY_SIDE = 3  # layers that are still being unpacked while the next one is read
_BLOB = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]+)", re.ASCII)
_NAMED_BY_DIGEST = re.compile(r"([0-9a-f]{64})\.(?:json|tar)", re.ASCII)


class Spool:
    """The members of an archive by their names."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.intakes: dict[str, LayerIntake | TakenLayer] = {}
        self.links: dict[str, str] = {}
        self.members = 0
        self.bytes = 0

    def has(self, name: str) -> bool:
        name = self._resolve(name)
        return name in self.documents or name in self.intakes

    def document(self, name: str) -> bytes:
        """Return a small member. Raises `InvalidArgument` if there is none, or not of that name and digest."""
        data = self.documents.get(self._resolve(name))
        if data is None:
            raise InvalidArgument(f"invalid archive: {name}: no such file")
        return data

    def layer(self, name: str) -> TakenLayer:
        """Wait for a layer and return it. Raises `InvalidArgument` if there is none or it is broken."""
        intake = self.intakes.get(self._resolve(name))
        if intake is None:
            raise InvalidArgument(f"invalid archive: {name}: no such layer")
        return intake if isinstance(intake, TakenLayer) else intake.result()

    def abandon(self) -> None:
        """Drop every layer that has not found its place."""
        for intake in self.intakes.values():
            if isinstance(intake, LayerIntake):
                intake.abandon()

    def _resolve(self, name: str) -> str:
        name = posixpath.normpath(name)
        for _ in range(8):
            if name not in self.links:
                break
            name = self.links[name]
        return name


def spool(read: Read, depot: Depot, lease: Lease, limits: Limits, report: Report | None, into: Spool) -> None:
    """Read a whole archive `into` a spool, whose layers the caller abandons in any case.

    Raises `InvalidArgument` for a malformed archive and for a member that is not what its name says.
    """
    _Spooler(TarReader(read), depot, lease, limits, report, into).run()


class _Spooler:
    def __init__(
        self, reader: TarReader, depot: Depot, lease: Lease, limits: Limits, report: Report | None, into: Spool
    ) -> None:
        self.reader = reader
        self.depot = depot
        self.lease = lease
        self.limits = limits
        self.report = report
        self.spool = into
        self.running: deque[LayerIntake] = deque()

    def run(self) -> None:
        while (entry := self.reader.next()) is not None:
            self.spool.members += 1
            if self.spool.members > _MAX_MEMBERS:
                raise InvalidArgument(f"invalid archive: more than {_MAX_MEMBERS} members")
            name = posixpath.normpath(entry.name).removeprefix("/")
            if entry.kind is Kind.DIRECTORY or name == ".":
                continue
            if name.split("/")[0] == ".." or len(name) > 4096:
                raise TarError(f"invalid archive: {entry.name[:200]!r} is outside of it")
            if entry.kind is Kind.SYMLINK:
                self.spool.links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), entry.linkname))
            elif entry.kind is Kind.LINK:
                self.spool.links[name] = posixpath.normpath(entry.linkname).removeprefix("/")
            elif entry.kind is Kind.FILE and entry.sparse is None:
                self.take(name, entry)
            else:
                raise InvalidArgument(f"invalid archive: {name} is a {entry.kind.value}")
        self.reader.drain()

    def take(self, name: str, entry: Entry) -> None:
        if name in self.spool.documents or name in self.spool.intakes:
            raise InvalidArgument(f"invalid archive: {name} is there twice")
        claim = claimed_digest(name)
        body = self.reader.body()
        start = _start(body)
        compression = _layer_compression(start)
        if compression is None:
            self.take_document(name, entry, claim, start, body)
        elif (known := self.known(claim)) is not None:
            self.spool.intakes[name] = known
            _verify(claim, start, body)
        else:
            self.take_layer(name, entry, claim, compression, start, body)

    def take_document(
        self, name: str, entry: Entry, claim: Digest | None, start: bytes, body: Iterator[memoryview]
    ) -> None:
        if entry.size > _MAX_DOCUMENT:
            if claim is not None:
                _verify(claim, start, body)  # some other artifact, which nothing that is loaded refers to
            return
        data = start + b"".join(body)
        self.spool.bytes += len(data)
        if self.spool.bytes > _MAX_DOCUMENTS:
            raise InvalidArgument("invalid archive: its documents are too large")
        if claim is not None and Digest.of(data, claim.algorithm) != claim:
            raise InvalidArgument(
                f"unexpected content digest: got {Digest.of(data, claim.algorithm)}, expected {claim}"
            )
        self.spool.documents[name] = data

    def take_layer(
        self,
        name: str,
        entry: Entry,
        claim: Digest | None,
        compression: Compression,
        start: bytes,
        body: Iterator[memoryview],
    ) -> None:
        while len(self.running) >= _SIDE_BY_SIDE:
            self.running.popleft().wait()
        intake = LayerIntake(self.depot, self.lease, compression, claim, self.limits)
        self.spool.intakes[name] = intake
        self.running.append(intake)
        meter = Meter(self.report, "Loading layer", _short(name, claim), entry.size)
        try:
            intake.feed(start)
            meter.add(len(start))
            for block in body:
                intake.feed(block)
                meter.add(len(block))
        finally:
            intake.finish()
        meter.finish()

    def known(self, claim: Digest | None) -> TakenLayer | None:
        """Return a layer of the digest `claim` that is here already; from now on it stays."""
        record = self.depot.known(str(claim)) if claim is not None else None
        if record is None:
            return None
        self.lease.hold(record.blob)
        self.lease.hold(diff_name(record.diff_id))
        return TakenLayer(record) if self.depot.content.has(Digest.parse(record.blob)) else None


def claimed_digest(name: str) -> Digest | None:
    """Return the digest that a member's name says it has."""
    match = _BLOB.fullmatch(name)
    if match is not None:
        return Digest.parse(f"{match[1]}:{match[2]}")
    match = _NAMED_BY_DIGEST.fullmatch(name)
    return Digest("sha256", match[1]) if match is not None else None


def _start(body: Iterator[memoryview]) -> bytes:
    """Take enough off the body to tell what it is."""
    start = b""
    while len(start) < BLOCK and (block := next(body, None)) is not None:
        start += bytes(block)
    return start


def _layer_compression(start: bytes) -> Compression | None:
    """Tell how a layer that begins with `start` is compressed; None if it is no layer."""
    compression = detect(start)
    if compression is not Compression.NONE:
        return compression
    if len(start) < BLOCK:
        return None
    try:
        decode(start[:BLOCK])
    except TarError:
        return None
    return Compression.NONE


def _verify(claim: Digest | None, start: bytes, body: Iterator[memoryview]) -> None:
    if claim is None:
        return
    hasher = Digest.hasher(claim.algorithm)
    hasher.update(start)
    for block in body:
        hasher.update(block)
    if hasher.hexdigest() != claim.hex:
        raise InvalidArgument(
            f"unexpected content digest: got {claim.algorithm}:{hasher.hexdigest()}, expected {claim}"
        )


def _short(name: str, claim: Digest | None) -> str:
    return claim.short if claim is not None else name.split("/")[0][:12]
