"""Gathering an image: its configuration and all its layers at once, from a source to a record that can be named.

What is here already is not fetched: a layer is recognized by the digest of its blob, or by the diff id that the
configuration gives it. Nothing is believed: the layers that came must be those that the configuration names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from orlop.errors import Error, Internal, InvalidArgument, Unavailable
from orlop.formats.digest import Digest
from orlop.formats.identity import chain_ids
from orlop.image.archive.load import make_record
from orlop.image.assembly import Assembly
from orlop.image.config import MAX_CONFIG, ImageConfig, parse_config
from orlop.image.fetch import Fetches, LayerFetch, Source, no_space
from orlop.image.intake import TakenLayer
from orlop.image.layers import chain_name, diff_name
from orlop.image.leases import Lease
from orlop.model.oci.documents import Descriptor, Manifest
from orlop.model.record import ImageRecord, LayerRecord

__all__ = ["Gathering", "Row"]

_MISMATCH = "layers from manifest don't match image configuration"


@dataclass(slots=True)
class Row:
    """One blob of the image's layers, as it is seen from outside: it is `known`, or `fetch` says how it gets on."""

    descriptor: Descriptor
    known: bool
    fetch: LayerFetch | None = None


@dataclass(slots=True)
class _Layer:
    descriptor: Descriptor
    diff_id: str
    record: LayerRecord | None  # of one that is here already


class Gathering:
    """One image on its way, of the manifest `manifest` whose bytes are `data` and whose digest is `digest`.

    Make one, `run` it, name the record that it returns, and `close` it. `rows` fills as soon as the layers are known.
    """

    def __init__(
        self, fetches: Fetches, source: Source, lease: Lease, manifest: Manifest, data: bytes, digest: Digest
    ) -> None:
        self.rows: list[Row] = []
        self._fetches = fetches
        self._depot = fetches.depot
        self._source = source
        self._lease = lease
        self._manifest = manifest
        self._data = data
        self._digest = digest
        self._joined: list[LayerFetch] = []

    async def run(self) -> ImageRecord:
        """Bring everything into the depot, held by the lease. Raises `errors.Error`, and nothing is named yet."""
        config_digest = self._manifest.config.parsed_digest
        data = await self._config(config_digest)
        config = parse_config(data)
        layers = await asyncio.to_thread(self._plan, config)
        records = await self._layers(layers)
        try:
            return await asyncio.to_thread(self._assemble, config_digest, data, config, records)
        except OSError as error:
            if no_space(error):
                raise Unavailable("failed to register layer: no space left on device") from error
            raise Internal(f"failed to register layer: {error}") from error

    async def close(self, *, named: bool) -> None:
        """Leave the fetches; once the image is `named`, what was kept of its downloads is not needed any more."""
        joined, self._joined = self._joined, []
        endings = [ending for fetch in joined if (ending := self._fetches.leave(fetch)) is not None]
        if endings:
            await asyncio.wait(endings)
        if named:
            digests = [descriptor.parsed_digest for descriptor in self._manifest.layers]
            await asyncio.to_thread(self._fetches.partials.forget, digests)

    async def _config(self, digest: Digest) -> bytes:
        descriptor = self._manifest.config
        if descriptor.size > MAX_CONFIG:
            raise InvalidArgument(f"invalid image configuration: it has more than {MAX_CONFIG} bytes")
        self._lease.hold(descriptor.digest)
        if self._depot.content.has(digest):
            return await asyncio.to_thread(self._depot.content.read, digest, MAX_CONFIG)
        data = await self._download_config(descriptor)
        if Digest.of(data, digest.algorithm) != digest:
            raise Internal(f"error pulling image configuration: image config verification failed for digest {digest}")
        return data

    async def _download_config(self, descriptor: Descriptor) -> bytes:
        attempts = self._fetches.attempts
        for attempt in range(1, attempts + 1):
            try:
                return await self._read_config(descriptor)
            except Error as error:
                if attempt == attempts or not isinstance(error, Unavailable):
                    raise Internal(
                        f"error pulling image configuration: download failed after attempts={attempt}: {error}"
                    ) from error
            await asyncio.sleep(self._fetches.pause / 4 * 2 ** (attempt - 1))
        raise RuntimeError("no attempt is allowed")

    async def _read_config(self, descriptor: Descriptor) -> bytes:
        data = bytearray()
        async with self._source.open_blob(descriptor) as stream:
            async for block in stream:
                data += block
                if len(data) > descriptor.size:
                    raise InvalidArgument(f"it has more than {descriptor.size} bytes")
        return bytes(data)

    def _plan(self, config: ImageConfig) -> list[_Layer]:
        """Find out what is to be fetched; hold what is not."""
        diff_ids = config.rootfs.diff_ids
        if len(diff_ids) != len(self._manifest.layers):
            raise InvalidArgument(_MISMATCH)
        return [
            _Layer(descriptor, diff_id, self._known(descriptor, diff_id, chain_id))
            for descriptor, diff_id, chain_id in zip(self._manifest.layers, diff_ids, chain_ids(diff_ids), strict=True)
        ]

    def _known(self, descriptor: Descriptor, diff_id: str, chain_id: str) -> LayerRecord | None:
        """Return a layer that is here, by its blob or its content; from now on it stays."""
        depot = self._depot
        for digest in (descriptor.digest, diff_id):
            record = depot.known(digest)
            if record is None:
                continue
            if record.diff_id != diff_id:
                raise InvalidArgument(_MISMATCH)
            for name in filter(None, (record.blob, diff_name(diff_id), chain_name(chain_id))):
                self._lease.hold(name)
            if record.blob and not depot.content.has(Digest.parse(record.blob)):
                continue  # it was lost, and comes again
            if record.blob or depot.layers.has(diff_name(diff_id)) or depot.layers.has(chain_name(chain_id)):
                return record
        return None

    async def _layers(self, layers: Sequence[_Layer]) -> list[LayerRecord]:
        """Fetch all that is missing, the same blob once; return the records of all layers, bottom first."""
        rows: dict[str, Row] = {}
        for layer in layers:
            rows.setdefault(layer.descriptor.digest, Row(layer.descriptor, layer.record is not None))
        self.rows.extend(rows.values())
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {digest: group.create_task(self._fetch(row)) for digest, row in rows.items() if not row.known}
        except BaseExceptionGroup as errors:
            first = errors.exceptions[0]
            raise first from first.__cause__
        records = [layer.record or tasks[layer.descriptor.digest].result() for layer in layers]
        for layer, record in zip(layers, records, strict=True):
            if not _agree(layer.diff_id, record.diff_id):
                raise InvalidArgument(_MISMATCH)
        return records

    async def _fetch(self, row: Row) -> LayerRecord:
        def joined(fetch: LayerFetch) -> None:
            row.fetch = fetch
            self._joined.append(fetch)

        return await self._fetches.take(self._source, row.descriptor, self._lease, joined)

    def _assemble(
        self, config_digest: Digest, data: bytes, config: ImageConfig, records: Sequence[LayerRecord]
    ) -> ImageRecord:
        """Give the layers their places, keep configuration and manifest, and make everything durable. In a thread."""
        assembly = Assembly(self._depot, self._lease, self._fetches.limits)
        try:
            placed = assembly.place(config.rootfs.diff_ids, [TakenLayer(record, None) for record in records])
            self._keep(config_digest, data)
            self._keep(self._digest, self._data)
            assembly.finish()
        finally:
            assembly.abandon()
        record = make_record(str(config_digest), config, placed)
        return msgspec.structs.replace(record, manifest=str(self._digest))

    def _keep(self, digest: Digest, data: bytes) -> None:
        self._lease.hold(str(digest))
        if not self._depot.content.has(digest):
            with self._depot.content.ingest(digest.algorithm) as ingest:
                ingest.write(data)
                ingest.commit(digest, durable=False)


def _agree(expected: str, actual: str) -> bool:
    """Tell whether a layer may be the one that is named; of another algorithm the assembly finds out."""
    return expected == actual or expected.partition(":")[0] != actual.partition(":")[0]
