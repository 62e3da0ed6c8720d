"""The images of one data root: what there is, by id and by name, and every change to it.

The index in memory mirrors the store: a change is written there first, in one transaction, and then here. All
coroutines run on one event loop; what blocks runs in a thread.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from orlop.errors import InvalidArgument, NotFound
from orlop.formats import reference
from orlop.formats.digest import ALGORITHMS, Digest, is_hex
from orlop.formats.identity import is_id
from orlop.formats.reference import Reference
from orlop.image.collect import collect, everything, garbage, names_of
from orlop.image.content import Content
from orlop.image.depot import Depot
from orlop.image.layers import Layers
from orlop.image.leases import Lease, Leases
from orlop.image.partials import DIRECTORY, Partials
from orlop.image.scratch import Scratch
from orlop.model.record import ImageRecord, LayerRecord
from orlop.store import images as table
from orlop.store.store import Store
from orlop.store.transaction import Transaction

__all__ = ["Images", "no_such_image"]

T = TypeVar("T")


class Images:
    """The index. Make one with `open`."""

    def __init__(self, data_root: Path, store: Store, keep: Callable[[], Collection[str]] = tuple) -> None:
        self._store = store
        self._keep = keep
        self._records: dict[str, ImageRecord] = {}
        self._names: dict[str, str] = {}  # canonical reference → image id
        self._known: dict[str, LayerRecord] = {}  # by diff id and by digest of the blob
        self._configs: dict[str, dict[str, Any]] = {}  # they never change
        self._changing = asyncio.Lock()
        self.scratch = Scratch(data_root / "tmp")
        self.partials = Partials(self.scratch.path / DIRECTORY)
        self.content = Content(data_root / "content", self.scratch)
        self.layers = Layers(data_root / "layers", self.scratch)
        self.depot = Depot(self.content, self.layers, self.scratch, Leases(self._collect), self._find_known)

    @classmethod
    async def open(cls, data_root: Path, store: Store, *, keep: Callable[[], Collection[str]] = tuple) -> Images:
        """Read the index, and remove what a crash left behind: what is in ``tmp/`` (downloads may go on, though) and
        what no record names.

        `keep` returns the blobs and layers that others need (the build cache); it is called from any thread.
        """
        images = await asyncio.to_thread(cls, data_root, store, keep)
        records, names = await store.read(lambda tx: (table.all(tx), table.references(tx)))
        images._records = {record.id: record for record in records}
        images._names = {name: image_id for name, image_id in names.items() if image_id in images._records}
        images._index_layers()
        await asyncio.to_thread(images._heal)
        return images

    async def close(self) -> None:
        """Stop the removal of old trees; the next start goes on with it."""
        await asyncio.to_thread(self.scratch.close)

    # Asking

    def __iter__(self) -> Iterator[ImageRecord]:
        """Iterate over every image, in no order; those that only containers keep are not among them."""
        return iter([record for record in self._records.values() if not record.removed])

    def records(self) -> list[ImageRecord]:
        """Return every image, those too that were deleted while containers use them."""
        return list(self._records.values())

    def get(self, image_id: str) -> ImageRecord:
        """Return an image by its whole id, even one that was deleted while containers use it. Raises `NotFound`."""
        record = self._records.get(image_id)
        if record is None:
            raise NotFound(f"No such image: {image_id}")
        return record

    def resolve(self, text: str) -> ImageRecord:
        """Return the image that a user means by a name, an id or the beginning of an id.

        A name wins over the beginning of an id; a beginning that several ids share means none. Raises `NotFound`
        and, for what can be neither, `InvalidArgument`.
        """
        digest = _as_digest(text)
        if digest is not None:
            record = self._records.get(str(digest))
            if record is None or record.removed:
                raise NotFound(f"No such image: {digest}")
            return record
        name = reference.parse(text)
        image_id = self._names.get(_key(name))
        if image_id is not None:
            return self._records[image_id]
        found = self._by_prefix(text)
        if found is None:
            raise no_such_image(name)
        return found

    def config(self, record: ImageRecord) -> dict[str, Any]:
        """Return the image's configuration document; the caller must not change it. Raises `NotFound`."""
        config = self._configs.get(record.id)
        if config is None:
            config = self._configs[record.id] = json.loads(self.content.read(Digest.parse(record.id)))
        return config

    def references(self, image_id: str) -> list[Reference]:
        """Return the names of an image, sorted, those by digest too."""
        return [reference.parse(name) for name, target in sorted(self._names.items()) if target == image_id]

    def references_by_image(self) -> dict[str, list[Reference]]:
        """Return the names of all images, as `references` does for one."""
        names: dict[str, list[Reference]] = {}
        for name, image_id in sorted(self._names.items()):
            names.setdefault(image_id, []).append(reference.parse(name))
        return names

    def names(self, image_id: str) -> list[str]:
        """Return the ``RepoTags`` of an image, in their familiar form."""
        return [name.familiar() for name in self.references(image_id) if name.digest is None]

    def lookup(self, name: Reference) -> str | None:
        """Return the id of the image that has exactly this name."""
        return self._names.get(_key(name))

    # Changing

    async def add(self, new: Sequence[tuple[ImageRecord, Sequence[Reference]]], *, tagged: bool = False) -> None:
        """Name images, whose blobs and layers are in place under a lease, and move names to them; one transaction.

        An image that is there already stays as it is, but for its names, unless some of it was lost. `tagged` notes
        the time of that.
        """
        async with self._changing:
            now = time.time_ns()
            records: dict[str, ImageRecord] = {}
            names: dict[str, str] = {}
            for record, given in new:
                kept = records.get(record.id) or self._records.get(record.id) or record
                if kept is not record and not self._whole(kept):
                    kept = msgspec.structs.replace(record, tagged_at=kept.tagged_at, parent=kept.parent)
                changed_at = now if tagged and given else kept.tagged_at
                records[record.id] = msgspec.structs.replace(kept, removed=False, tagged_at=changed_at)
                names.update((_key(name.tagged()), record.id) for name in given)

            def write(tx: Transaction) -> None:
                for record in records.values():
                    table.put(tx, record)
                for name, image_id in names.items():
                    table.set_reference(tx, name, image_id)

            await self._written(write)
            self._records.update(records)
            self._names.update(names)
            self._index_layers()

    async def tag(self, record: ImageRecord, name: Reference) -> None:
        """Let `name` point to an image. Raises `NotFound` if the image is gone meanwhile."""
        self.get(record.id)
        await self.add([(record, [name])], tagged=True)

    async def untag(self, name: Reference) -> None:
        """Forget a name. Raises `NotFound` if there is none."""
        async with self._changing:
            key = _key(name)
            if key not in self._names:
                raise NotFound(f"reference does not exist: {name.familiar()}")
            await self._written(lambda tx: table.delete_reference(tx, key), frees=True)
            del self._names[key]

    async def delete(self, image_id: str, *, in_use: bool = False) -> None:
        """Forget an image with all its names and free what nothing else uses.

        `in_use` says that containers stand on it: then it stays for them, and `release` frees it.
        """
        async with self._changing:
            record = self.get(image_id)
            hidden = msgspec.structs.replace(record, removed=True)

            def write(tx: Transaction) -> None:
                table.delete(tx, image_id)
                if in_use:
                    table.put(tx, hidden)

            await self._written(write, frees=True)
            self._names = {name: target for name, target in self._names.items() if target != image_id}
            await self._forget([hidden], keep=in_use)

    async def release(self, used: Collection[str]) -> None:
        """Free the deleted images that no container uses any more; `used` are the image ids of all containers."""
        if not any(record.removed for record in self._records.values()):
            return
        async with self._changing:
            gone = [record for record in self._records.values() if record.removed and record.id not in used]
            if gone:
                await self._written(lambda tx: _delete_all(tx, gone), frees=True)
                await self._forget(gone, keep=False)

    async def exchange_blob(self, old: LayerRecord, new: LayerRecord) -> None:
        """Let all images keep a layer by another blob, which is in place and durable.

        The caller's lease holds both blobs; the old one goes with it.
        """
        async with self._changing:
            changed = [
                msgspec.structs.replace(
                    record, layers=tuple(new if _same_blob(layer, old) else layer for layer in record.layers)
                )
                for record in self._records.values()
                if any(_same_blob(layer, old) for layer in record.layers)
            ]
            await self._replace(changed)

    async def note_push(self, image_id: str, name: Reference, manifest: str) -> None:
        """Give an image the name by digest that it has at a registry, and the manifest if it had none."""
        async with self._changing:
            record = self.get(image_id)
            if not record.manifest:
                await self._replace([msgspec.structs.replace(record, manifest=manifest)])
        await self.add([(record, [name])])

    async def _replace(self, records: Sequence[ImageRecord]) -> None:
        """Write changed records; the caller holds the lock."""

        def write(tx: Transaction) -> None:
            for record in records:
                table.put(tx, record)

        await self._written(write)
        self._records.update({record.id: record for record in records})
        self._index_layers()

    async def loose_names(self) -> list[str]:
        """Return the names in the store that point to no image."""
        async with self._changing:  # a change is in the store before it is here
            stored = await self._store.read(table.references)
            return [name for name, image_id in stored.items() if image_id not in self._records]

    async def drop_names(self, names: Collection[str]) -> None:
        """Forget names that point to no image."""
        async with self._changing:
            loose = [name for name in names if name not in self._names]
            await self._written(lambda tx: _delete_names(tx, loose), frees=True)

    async def unnamed(self) -> list[str]:
        """Return the blobs and layers that nothing and no lease names: what `collect_garbage` removes."""
        async with self._changing:  # what a deletion gives up is collected before it ends
            return await asyncio.to_thread(
                lambda: garbage(self.depot, self.records, everything(self.depot), self._keep)
            )

    def collect_garbage(self) -> None:
        """Remove what nothing and no lease names."""
        self._collect(frozenset(everything(self.depot)))

    def collect(self, names: Collection[str]) -> None:
        """Remove those of `names`, which their owner gave up, that nothing and no lease names."""
        self._collect(frozenset(names))

    def sync(self) -> None:
        """Bring all blobs and layers that are in place, and their names, to the disk. Raises `OSError`."""
        self.scratch.sync()
        self.layers.sync_names()
        self.content.sync_names()

    def lease(self) -> Lease:
        """Begin a lease, under which blobs and layers are brought in before `add` names them."""
        return self.depot.leases.open()

    async def _written(self, function: Callable[[Transaction], T], *, frees: bool = False) -> T:
        """Write to the store; if the caller is cancelled the index still follows what was written."""
        return await asyncio.shield(self._store.write(function, frees=frees))

    async def _forget(self, records: Iterable[ImageRecord], *, keep: bool) -> None:
        candidates: set[str] = set()
        for record in records:
            if keep:
                self._records[record.id] = record
                continue
            candidates |= names_of(record, self.layers)
            self._records.pop(record.id, None)
            self._configs.pop(record.id, None)
        self._index_layers()
        if candidates:
            await asyncio.to_thread(self._collect, frozenset(candidates))

    def _whole(self, record: ImageRecord) -> bool:
        """Tell whether all blobs of an image are there."""
        return all(self.depot.has(name) for name in names_of(record, self.layers) if ":" in name)

    def _by_prefix(self, text: str) -> ImageRecord | None:
        algorithm, colon, prefix = text.rpartition(":")
        if colon and algorithm not in ALGORITHMS:
            return None
        if not is_hex(prefix):
            return None
        found = [
            record
            for record in self._records.values()
            if not record.removed and record.id.partition(":")[2].startswith(prefix) and record.id.startswith(algorithm)
        ]
        return found[0] if len(found) == 1 else None

    def _index_layers(self) -> None:
        known: dict[str, LayerRecord] = {}
        for record in self._records.values():
            for layer in record.layers:
                known[layer.diff_id] = layer
                if layer.blob:
                    known[layer.blob] = layer
        self._known = known  # replaced as a whole: other threads read it

    def _find_known(self, digest: str) -> LayerRecord | None:
        return self._known.get(digest)

    def _collect(self, candidates: frozenset[str]) -> None:
        collect(self.depot, self.records, candidates, self._keep)

    def _heal(self) -> None:
        self.scratch.sweep(keep=(DIRECTORY,))
        self.collect_garbage()
        self.partials.sweep(unwanted=self.content.has)


def _same_blob(layer: LayerRecord, other: LayerRecord) -> bool:
    return layer.diff_id == other.diff_id and layer.blob == other.blob


def _delete_all(tx: Transaction, records: Iterable[ImageRecord]) -> None:
    for record in records:
        table.delete(tx, record.id)


def _delete_names(tx: Transaction, names: Iterable[str]) -> None:
    for name in names:
        table.delete_reference(tx, name)


def no_such_image(name: Reference) -> NotFound:
    """Return Docker's error for a name that no image has."""
    return NotFound(f"No such image: {name.tagged().familiar()}")


def _key(name: Reference) -> str:
    """Return the form under which a name is kept: by digest if it has one, else by tag."""
    if name.digest is not None:
        return f"{name.name}@{name.digest}"
    return name.tagged().canonical()


def _as_digest(text: str) -> Digest | None:
    """Return the image id that `text` is, with or without its algorithm; None if it is something else."""
    if is_id(text):
        return Digest("sha256", text)
    try:
        return Digest.parse(text)
    except InvalidArgument:
        return None
