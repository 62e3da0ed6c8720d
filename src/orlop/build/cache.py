"""The build cache: what steps were carried out, by key, and which layer came of each.

The index in memory mirrors the store. A record is a root of garbage collection from the moment it is in the index, so
its layer stays as long as it does. It is written to the store at once, which a crash of the daemon survives, but the
layer and the record reach the disk only with the next `settle`. Until then the record carries the boot id of the
kernel; one of another boot is from before a power cut and is dropped at the start, as is one whose layer is gone.

All coroutines run on one event loop; `names` may be called from any thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from orlop.formats.identity import chain_ids
from orlop.image.depot import Depot
from orlop.image.images import Images
from orlop.image.layers import chain_name, diff_name
from orlop.linux.proc import boot_id
from orlop.model.record import BuildStepRecord, LayerRecord
from orlop.store import builds as table
from orlop.store.store import Store
from orlop.store.transaction import Transaction

__all__ = ["Cache", "Use", "directory_of", "names_of_step", "whole"]

log = logging.getLogger(__name__)


def names_of_step(record: BuildStepRecord) -> frozenset[str]:
    """Return the blob that a record keeps, and the names that the directory of its layer may have."""
    diff_id = record.layer.diff_id
    names = {diff_name(diff_id), chain_name(chain_ids([*record.base, diff_id])[-1])}
    if record.layer.blob:
        names.add(record.layer.blob)
    return frozenset(names)


def directory_of(record: BuildStepRecord, depot: Depot) -> str | None:
    """Return the name of the directory of a record's layer, None if it is gone."""
    return depot.layers.find([*record.base, record.layer.diff_id])[-1]


@dataclass(slots=True)
class Use:
    """The records that a build relies on: nobody prunes them meanwhile."""

    keys: set[str] = field(default_factory=set)


class Cache:
    """The index. Make one with `open`, before the images, which need its `names`; then `sift`."""

    def __init__(self, store: Store, boot: str) -> None:
        self.boot = boot
        self._store = store
        self._records: dict[str, BuildStepRecord] = {}
        self._names: dict[str, int] = {}  # how many records keep a blob or a layer
        self._used: Counter[str] = Counter()
        self._unwritten: set[str] = set()  # keys of records whose use was not noted in the store yet
        self._settling = asyncio.Lock()

    @classmethod
    async def open(cls, store: Store) -> Cache:
        """Read the index; drop what was made in another boot and never settled."""
        cache = cls(store, await asyncio.to_thread(boot_id))
        records = await store.read(table.steps)
        lost = [record.key for record in records if record.boot_id not in ("", cache.boot)]
        for record in records:
            if record.key not in lost:
                cache._enter(record)
        if lost:
            log.info("%d steps of builds were not on the disk before the machine went down, and are dropped", len(lost))
            await store.write(lambda tx: table.delete(tx, lost), durable=False, frees=True)
        return cache

    async def sift(self, images: Images) -> None:
        """Drop the records whose layer is gone."""
        gone = [record.key for record in self if not whole(record, images.depot)]
        if gone:
            log.warning("%d steps of builds lost their layers, and are dropped", len(gone))
            names = await self.drop(gone)
            await asyncio.to_thread(images.collect, names)

    # Asking

    def __iter__(self) -> Iterator[BuildStepRecord]:
        """Iterate over every record, in no order."""
        return iter(list(self._records.values()))

    def __len__(self) -> int:
        return len(self._records)

    def find(self, key: str) -> BuildStepRecord | None:
        """Return what is known of a step. Its layer is there only if a lease that holds its names says so."""
        return self._records.get(key)

    def names(self) -> list[str]:
        """Return the blobs and layers that the records keep: roots of garbage collection."""
        return list(self._names)

    def in_use(self, key: str) -> bool:
        """Tell whether a running build relies on a record."""
        return self._used[key] > 0

    def unsettled(self, keys: Iterable[str]) -> bool:
        """Tell whether the layer of one of these records may not be on the disk yet."""
        return any((record := self._records.get(key)) is not None and record.boot_id for key in keys)

    # Using

    def use(self, use: Use, key: str, now: int) -> None:
        """Note that a build relies on a record, which is one more use of it, at `now` (ns)."""
        if key not in use.keys:
            use.keys.add(key)
            self._used[key] += 1
        record = self._records.get(key)
        if record is not None:
            self._records[key] = msgspec.structs.replace(record, used_at=now, uses=record.uses + 1)
            self._unwritten.add(key)

    def release(self, use: Use) -> None:
        """End the use of all records of a build."""
        self._used.subtract(use.keys)
        self._used = +self._used
        use.keys.clear()

    # Changing

    async def put(self, record: BuildStepRecord) -> None:
        """Keep the record of a step, whose layer is in place under a lease; it replaces one with the same key."""
        before = self._records.get(record.key)
        self._enter(record)
        try:
            await self._written(lambda tx: table.put(tx, record), durable=False)
        except BaseException:
            if self._records.get(record.key) is record:
                self._leave(record.key)
                if before is not None:
                    self._enter(before)
            raise

    async def drop(self, keys: Collection[str]) -> frozenset[str]:
        """Forget records; return the names that no other record keeps, which are the caller's to have collected."""
        gone = [record for key in keys if (record := self._records.get(key)) is not None]
        await self._written(lambda tx: table.delete(tx, [record.key for record in gone]), durable=True, frees=True)
        given_up: set[str] = set()
        for record in gone:
            if record.key in self._records:
                self._leave(record.key)
                given_up |= names_of_step(record)
        return frozenset(name for name in given_up if name not in self._names)

    async def exchange_blob(self, old: LayerRecord, new: LayerRecord) -> None:
        """Let all records keep a layer by another blob, which is in place and durable, as the images do."""
        changed = [
            msgspec.structs.replace(record, layer=new)
            for record in self
            if record.layer.diff_id == old.diff_id and record.layer.blob == old.blob
        ]
        if changed:
            await self._written(lambda tx: _put_all(tx, changed), durable=True)
            for record in changed:
                if record.key in self._records:
                    self._enter(msgspec.structs.replace(self._records[record.key], layer=new))

    async def settle(self, sync: Callable[[], None]) -> None:
        """Make durable what was put so far, and note what was used. `sync`, which runs in a thread, brings all layers
        and their names to the disk; it is called once, if anything is new. Raises `OSError`.
        """
        async with self._settling:
            new = [record for record in self if record.boot_id]
            if new:
                await asyncio.to_thread(sync)
            for record in new:
                kept = self._records.get(record.key)
                if kept is not None and kept.layer.diff_id == record.layer.diff_id:
                    self._records[record.key] = msgspec.structs.replace(kept, boot_id="")
                    self._unwritten.add(record.key)
            unwritten, self._unwritten = self._unwritten, set()
            records = [self._records[key] for key in unwritten if key in self._records]
            try:
                if records:
                    await self._written(lambda tx: _put_all(tx, records), durable=bool(new))
            except BaseException:
                self._unwritten |= unwritten
                raise

    async def note_uses(self) -> None:
        """Note in the store what was used, without waiting for the disk."""
        unwritten, self._unwritten = self._unwritten, set()
        records = [self._records[key] for key in unwritten if key in self._records]
        if records:
            await self._written(lambda tx: _put_all(tx, records), durable=False)

    async def _written(self, function: Callable[[Transaction], None], *, durable: bool, frees: bool = False) -> None:
        """Write to the store; a caller that is cancelled does not undo it."""
        await asyncio.shield(self._store.write(function, durable=durable, frees=frees))

    def _enter(self, record: BuildStepRecord) -> None:
        for name in names_of_step(record):  # first: nothing is without a root for a moment
            self._names[name] = self._names.get(name, 0) + 1
        self._leave(record.key)
        self._records[record.key] = record

    def _leave(self, key: str) -> None:
        record = self._records.pop(key, None)
        for name in names_of_step(record) if record is not None else ():
            self._names[name] -= 1
            if not self._names[name]:
                del self._names[name]


def whole(record: BuildStepRecord, depot: Depot) -> bool:
    """Tell whether the layer of a record is there, and its blob."""
    return directory_of(record, depot) is not None and (not record.layer.blob or depot.has(record.layer.blob))


def _put_all(tx: Transaction, records: Iterable[BuildStepRecord]) -> None:
    for record in records:
        table.put(tx, record)
