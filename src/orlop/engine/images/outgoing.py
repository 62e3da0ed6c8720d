"""One image on its way to a registry: its layers side by side, its configuration, and at last its manifest.

An image that came from a registry goes with the manifest and the blobs that it had there, byte for byte. Any other gets
a new manifest (OCI), with its layers in gzip. What the registry has already is not sent: in this repository, or in
another one that the layer is known to be in.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orlop.engine.images.push_progress import Phase, Row
from orlop.errors import Error, Internal, Unavailable
from orlop.formats.digest import Digest
from orlop.formats.reference import Reference
from orlop.image.apart import apart
from orlop.image.fetch import no_space
from orlop.image.gzipped import Stopped, gzip_layer, is_gzipped, make_durable
from orlop.image.leases import Lease
from orlop.image.plain import check_blob
from orlop.model.oci import media
from orlop.model.oci.documents import Descriptor, Manifest, encode, parse
from orlop.model.record import ImageRecord, LayerRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine
    from orlop.registry.client.repository import Repository

__all__ = ["Outgoing", "Pushed"]

_BLOCK = 1 << 20
_MOUNT_ATTEMPTS = 3  # repositories that are asked for a layer, as dockerd's


@dataclass(frozen=True, slots=True)
class Pushed:
    """What the registry has now: `size` is the bytes of the manifest."""

    digest: Digest
    size: int


class Outgoing:
    """The push of `record` under the name `target`; `lease` holds all that is needed. `run` it once; look at `rows`."""

    def __init__(
        self, engine: Engine, repository: Repository, target: Reference, record: ImageRecord, lease: Lease
    ) -> None:
        self._engine = engine
        self._content = engine.images.content
        self._repository = repository
        self._target = target
        self._record = record
        self._lease = lease
        rows = {layer.diff_id: Row(Digest.parse(layer.diff_id).short) for layer in reversed(record.layers)}
        self._rows = rows
        self.rows = list(rows.values())  # topmost first

    async def run(self) -> Pushed:
        """Push the image, and note under which digest the registry has it. Raises `errors.Error`."""
        for name in (self._record.id, *(layer.blob for layer in self._record.layers if layer.blob)):
            self._lease.hold(name)
        original = await asyncio.to_thread(self._original)
        if original is not None and await self._is_at_hand(original[0]):
            manifest, data = original
            await self._send(manifest.layers, manifest.config)
        else:
            config = self._config()
            layers = await self._send([None] * len(self._record.layers), config)
            manifest = Manifest(media_type=media.OCI_MANIFEST, config=config, layers=layers)
            data = encode(manifest)
        digest = Digest.parse(await self._repository.put_manifest(self._target.tag, data, manifest.media_type))
        await self._note(digest, data)
        return Pushed(digest, len(data))

    def _original(self) -> tuple[Manifest, bytes] | None:
        """Return the manifest that the image came with, if that can be found and is its own. Reads the disk."""
        if not self._record.manifest:
            return None
        self._lease.hold(self._record.manifest)
        try:
            data = self._content.read(Digest.parse(self._record.manifest))
            document = parse(data)
        except Error:
            return None  # lost or damaged: a new one is as good
        if not isinstance(document, Manifest) or document.config.digest != self._record.id:
            return None
        return (document, data) if len(document.layers) == len(self._record.layers) else None

    async def _is_at_hand(self, manifest: Manifest) -> bool:
        """Tell whether every layer of a manifest is here in its own form or in the registry already.

        One may be here in another form, if an image from elsewhere brought it first.
        """
        for layer, descriptor in zip(self._record.layers, manifest.layers, strict=True):
            self._lease.hold(descriptor.digest)
            if media.is_foreign(descriptor.media_type) or self._content.has(descriptor.parsed_digest):
                continue
            if not await self._is_there(self._rows[layer.diff_id], layer.diff_id, descriptor):
                return False
        return True

    def _config(self) -> Descriptor:
        digest = Digest.parse(self._record.id)
        return Descriptor(media_type=media.OCI_CONFIG, digest=str(digest), size=self._content.size(digest))

    async def _send(self, descriptors: Sequence[Descriptor | None], config: Descriptor) -> tuple[Descriptor, ...]:
        """Send all blobs; return the descriptors of the layers, bottom first. Those without one are made for it."""
        layers = self._record.layers
        wanted = {layer.diff_id: (layer, item) for layer, item in zip(layers, descriptors, strict=True)}
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    diff_id: group.create_task(self._send_layer(self._rows[diff_id], *wanted[diff_id]))
                    for diff_id in self._rows
                }
                group.create_task(self._send_config(config))
        except BaseExceptionGroup as errors:
            first = _first(errors)
            if isinstance(first, OSError) and no_space(first):
                raise Unavailable("no space left on device") from first
            raise first from first.__cause__
        sent = {diff_id: task.result() for diff_id, task in tasks.items()}
        return tuple(sent[layer.diff_id] for layer in layers)

    async def _send_layer(self, row: Row, layer: LayerRecord, descriptor: Descriptor | None) -> Descriptor:
        if row.phase in (Phase.PRESENT, Phase.MOUNTED) and descriptor is not None:
            return descriptor
        if descriptor is not None and media.is_foreign(descriptor.media_type):
            row.phase = Phase.FOREIGN
            return descriptor
        row.phase = Phase.WAITING if self._engine.uploads.busy else Phase.PREPARING
        async with self._engine.uploads:
            row.phase = Phase.PREPARING
            if descriptor is not None:
                await self._send_blob(row, layer.diff_id, descriptor)
                return descriptor
            ready = layer if is_gzipped(layer) else await self._gzipped(layer)
            descriptor = Descriptor(media_type=media.OCI_LAYER_GZIP, digest=ready.blob, size=ready.size)
            check_blob(self._content, ready)
            async with asyncio.TaskGroup() as group:
                if ready is not layer:
                    group.create_task(self._keep(layer, ready))
                group.create_task(self._send_blob(row, layer.diff_id, descriptor))
            return descriptor

    async def _gzipped(self, layer: LayerRecord) -> LayerRecord:
        stop = threading.Event()
        check_blob(self._content, layer)
        working = apart(lambda: gzip_layer(self._engine.images.depot, self._lease, layer, stop), "layer-gzip")
        try:
            return await asyncio.shield(working)
        except Stopped:
            raise Internal(f"the compression of layer {layer.diff_id} was stopped") from None
        finally:
            stop.set()
            await asyncio.wait([working])  # it must have ended before the lease does

    async def _keep(self, old: LayerRecord, new: LayerRecord) -> None:
        """Let the layer be kept in its new form from now on; the old one goes with the lease."""
        await asyncio.to_thread(make_durable, self._content, Digest.parse(new.blob))
        await self._engine.images.exchange_blob(old, new)
        await self._engine.build_cache.exchange_blob(old, new)

    async def _send_blob(self, row: Row, diff_id: str, descriptor: Descriptor) -> None:
        if await self._is_there(row, diff_id, descriptor):
            return
        row.total = descriptor.size
        row.phase = Phase.PUSHING

        def progress(sent: int) -> None:
            row.current = sent

        await self._repository.upload(descriptor, lambda: self._blocks(descriptor.parsed_digest), progress)
        row.current = row.total
        row.phase = Phase.PUSHED

    async def _is_there(self, row: Row, diff_id: str, descriptor: Descriptor) -> bool:
        """Tell whether the registry has a layer, or let it take it from another of its repositories."""
        if await self._repository.has_blob(descriptor.digest):
            row.phase = Phase.PRESENT
            return True
        for other in self._other_repositories(diff_id)[:_MOUNT_ATTEMPTS]:
            if await self._repository.mount(descriptor.digest, other):
                row.mounted_from = other
                row.phase = Phase.MOUNTED
                return True
        return False

    def _other_repositories(self, diff_id: str) -> list[str]:
        """Return the repositories of the same registry from or to which an image with this layer went."""
        images = self._engine.images
        found: list[str] = []
        for image_id, names in images.references_by_image().items():
            if any(layer.diff_id == diff_id for layer in images.get(image_id).layers):
                found += [
                    name.path
                    for name in names
                    if name.digest is not None and name.domain == self._target.domain and name.path != self._target.path
                ]
        return list(dict.fromkeys(found))

    async def _send_config(self, config: Descriptor) -> None:
        if not await self._repository.has_blob(config.digest):
            await self._repository.upload(config, lambda: self._blocks(config.parsed_digest), lambda _: None)

    async def _blocks(self, digest: Digest) -> AsyncIterator[bytes]:
        with self._content.open(digest) as blob:
            while block := await asyncio.to_thread(blob.read, _BLOCK):
                yield block

    async def _note(self, digest: Digest, data: bytes) -> None:
        """Remember where the image is now, and the manifest by which it can be pushed again."""
        images = self._engine.images
        record = images.get(self._record.id)
        if not record.manifest:
            self._lease.hold(str(digest))
            await asyncio.to_thread(self._content.put, data, digest.algorithm)
        by_digest = replace(self._target, tag="", digest=digest)
        await images.note_push(record.id, by_digest, str(digest))


def _first(error: BaseException) -> BaseException:
    """Return the first error in a group of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
