"""Taking in a layer: one pass over its bytes that hashes, keeps and unpacks it, each in a thread of its own.

A compressed layer is kept as it came. A plain tar is kept as a zstd frame (level 1), from which it can be rebuilt bit
by bit: that costs on disk about two fifths of the unpacked tree, and little time, since it runs beside the unpacking.
A layer that lies in a file already (a download) is only verified here: who brings it keeps it, whatever its form.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from backports import zstd

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.formats.tar.reader import TarReader
from orlop.image.compression import Compression, Read, decompressed
from orlop.image.depot import Depot
from orlop.image.ingest import WrongDigest
from orlop.image.leases import Lease
from orlop.image.stages import Stage, ahead
from orlop.image.unpack import Limits, NeedsParents, Unpacked, unpack
from orlop.model.record import LayerRecord

__all__ = ["MEDIA_TYPE", "ZSTD_LEVEL", "LayerIntake", "TakenLayer", "media_type", "unpack_blob"]

MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar"
ZSTD_LEVEL = 1
_DEPTH = 32  # blocks that wait for a stage: as long as there are some, the stages do not wait for the source
_DEPTH_BESIDE_A_FILE = 4
_SLACK = 1 << 30  # bytes of headers and padding that a tar of the largest size may have beside its files


@dataclass(slots=True)
class TakenLayer:
    """A layer that has come in. `directory` holds it unpacked, None if that needs its parents or was not done."""

    record: LayerRecord
    directory: Path | None = None
    alone: bool = True


@dataclass(frozen=True, slots=True)
class _Kept:
    raw: Digest
    blob: Digest
    size: int


@dataclass(frozen=True, slots=True)
class _Opened:
    directory: Path | None
    unpacked: Unpacked
    diff_id: Digest | None  # of a compressed layer
    tar_size: int


class LayerIntake:
    """One layer on its way in: `feed` it, `finish`, then ask for the `result` or `abandon` it.

    `claim` is the digest that the bytes must have. Without `keeps` they are not stored here.
    """

    def __init__(
        self,
        depot: Depot,
        lease: Lease,
        compression: Compression,
        claim: Digest | None,
        limits: Limits,
        *,
        keeps: bool = True,
    ) -> None:
        self._depot = depot
        self._lease = lease
        self._compression = compression
        self._claim = claim
        self._limits = limits
        self._keeps = keeps
        self.consumed = 0  # bytes that have come to the unpacking
        self._directory: Path | None = None
        depth = _DEPTH if keeps else _DEPTH_BESIDE_A_FILE
        self._keeping = Stage("layer-keep", self._keep if keeps else self._verify, depth)
        self._opening = Stage("layer-unpack", self._open, depth)
        self._taken: TakenLayer | None = None

    def feed(self, block: bytes | memoryview) -> None:
        """Take the next bytes; wait while the stages are behind."""
        self._keeping.put(block)
        self._opening.put(block)

    @property
    def failed(self) -> bool:
        """Whether something went wrong already, so that feeding more is in vain."""
        return self._keeping.failed or self._opening.failed

    def finish(self) -> None:
        """Say that nothing follows; does not wait."""
        self._keeping.finish()
        self._opening.finish()

    @property
    def unpacking_error(self) -> BaseException | None:
        """What the unpacking has failed of already; the bytes may be as claimed all the same."""
        return self._opening.error

    def verified(self) -> None:
        """Say that nothing follows and wait until all bytes are hashed. Raises `WrongDigest`."""
        self.finish()
        self._keeping.result()

    def wait(self) -> None:
        """Wait until the work is done, well or not."""
        self._keeping.abandon()
        self._opening.abandon()

    def result(self) -> TakenLayer:
        """Wait and return the layer. Raises what went wrong; then nothing of it is left."""
        if self._taken is None:
            try:
                self._taken = self._result()
            except BaseException:
                self.abandon()
                raise
        return self._taken

    def abandon(self) -> None:
        """Drop what was unpacked; the kept blob goes with its lease."""
        self.wait()
        if self._directory is not None:
            self._depot.scratch.discard(self._directory)
            self._directory = None

    def _result(self) -> TakenLayer:
        self.wait()
        kept = self._keeping.result()  # first: a wrong digest explains why the rest makes no sense
        opened = self._opening.result()
        record = LayerRecord(
            diff_id=str(opened.diff_id or kept.raw),
            blob=str(kept.blob),
            media_type=media_type(self._compression) if self._keeps else MEDIA_TYPE + self._compression.value,
            size=kept.size,
            unpacked_size=opened.unpacked.size,
            tar_size=opened.tar_size,
        )
        return TakenLayer(record, opened.directory, opened.unpacked.alone)

    def _keep(self, read: Read) -> _Kept:
        plain = self._compression is Compression.NONE
        algorithm = self._claim.algorithm if self._claim else "sha256"
        raw = Digest.hasher(algorithm)
        with self._depot.content.ingest("sha256" if plain else algorithm) as ingest:
            if plain:
                compressor = zstd.ZstdCompressor(level=ZSTD_LEVEL)
                while block := read():
                    raw.update(block)
                    ingest.write(compressor.compress(block))
                ingest.write(compressor.flush())
                digest = Digest(algorithm, raw.hexdigest())
            else:
                while block := read():
                    ingest.write(block)
                digest = ingest.digest
            self._check(digest)
            self._lease.hold(str(ingest.digest))
            return _Kept(digest, ingest.commit(durable=False), ingest.size)

    def _verify(self, read: Read) -> _Kept:
        algorithm = self._claim.algorithm if self._claim else "sha256"
        hasher = Digest.hasher(algorithm)
        size = 0
        while block := read():
            hasher.update(block)
            size += len(block)
        digest = Digest(algorithm, hasher.hexdigest())
        self._check(digest)
        return _Kept(digest, digest, size)

    def _check(self, digest: Digest) -> None:
        if self._claim is not None and digest != self._claim:
            raise WrongDigest(digest, self._claim)

    def _open(self, read: Read) -> _Opened:
        def counted() -> bytes | memoryview:
            block = read()
            self.consumed += len(block)
            return block

        stream = _Plain(decompressed(counted, self._compression), self._limits, hashed=self._hashes_plain)
        self._directory = directory = self._depot.scratch.directory("layer")
        if self._compression is Compression.NONE:
            unpacked = _unpack_into(directory, stream.read, self._limits)
        else:
            with ahead(stream.read, "layer-decompress") as plain:
                unpacked = _unpack_into(directory, plain, self._limits)
        if unpacked is None:
            self._depot.scratch.discard(directory)
            self._directory = None
        return _Opened(self._directory, unpacked or Unpacked(alone=False), stream.digest, stream.size)

    @property
    def _hashes_plain(self) -> bool:
        """Whether the diff id differs from the digest of the bytes that come in."""
        return self._compression is not Compression.NONE or (
            self._claim is not None and self._claim.algorithm != "sha256"
        )


class _Plain:
    """A plain tar stream that is counted, and hashed on demand."""

    def __init__(self, source: Read, limits: Limits, hashed: bool) -> None:
        self._source = source
        self._limit = limits.size + _SLACK
        self.size = 0
        self._hasher = Digest.hasher() if hashed else None

    def read(self) -> bytes | memoryview:
        block = self._source()
        self.size += len(block)
        if self.size > self._limit:
            raise InvalidArgument("the layer is too large")
        if self._hasher is not None:
            self._hasher.update(block)
        return block

    @property
    def digest(self) -> Digest | None:
        return None if self._hasher is None else Digest("sha256", self._hasher.hexdigest())


def _unpack_into(directory: Path, read: Read, limits: Limits) -> Unpacked | None:
    """Unpack what stands alone, and read the stream to its end in any case; None for a layer that needs parents."""
    reader = TarReader(read)
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        unpacked = unpack(reader, root, limits=limits)
    except NeedsParents:
        unpacked = None
    finally:
        os.close(root)
    reader.drain()
    return unpacked


def unpack_blob(depot: Depot, record: LayerRecord, root: int, *, on_view: bool, limits: Limits) -> Unpacked:
    """Unpack a kept layer once more, into `root` as `unpack` does, and verify its diff id.

    Raises `InvalidArgument`, `NeedsParents`, `NotFound` if the blob is gone, and `OSError`.
    """
    compression = compression_of(record.media_type)
    expected = Digest.parse(record.diff_id)
    hasher = Digest.hasher(expected.algorithm)
    with depot.content.open(Digest.parse(record.blob)) as blob:
        plain = decompressed(lambda: blob.read(1 << 18), compression)

        def read() -> bytes | memoryview:
            block = plain()
            hasher.update(block)
            return block

        reader = TarReader(read)
        unpacked = unpack(reader, root, on_view=on_view, limits=limits)
        reader.drain()
    if hasher.hexdigest() != expected.hex:
        raise InvalidArgument(f"the kept blob of layer {record.diff_id} is damaged")
    return unpacked


def media_type(compression: Compression) -> str:
    """Return the media type under which a layer that came with `compression` is kept."""
    suffix: str = (Compression.ZSTD if compression is Compression.NONE else compression).value
    return MEDIA_TYPE + suffix


def compression_of(media_type: str) -> Compression:
    """Return the compression of a kept blob."""
    return Compression(media_type.removeprefix(MEDIA_TYPE))
