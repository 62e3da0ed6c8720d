"""What the build cache takes on the disk: `BuildCache` of `GET /system/df`, and what a prune chooses from.

An item is a step with its layer, a directory of a cache mount, or whatever else builds keep; each sort is a *shelf*.
Sizes are allocated bytes. A layer that several records have is told with the oldest of them; with the others, and where
an image has it too, it is *shared*, and counts for the image.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Protocol

from orlop.build.cache import Cache, names_of_step
from orlop.build.files.store import ContextStore, Loose
from orlop.build.policy import Item
from orlop.engine.builds.cache_mounts import CacheMounts
from orlop.formats.duration import SECOND, format_rfc3339
from orlop.formats.identity import chain_ids
from orlop.image.collect import names_of
from orlop.image.images import Images
from orlop.image.leases import Lease
from orlop.image.usage import allocated
from orlop.model.record import BuildStepRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = [
    "ContextShelf",
    "MountShelf",
    "Shelf",
    "StepShelf",
    "cache_usage",
    "item_json",
    "items_of",
    "only_cached",
    "shelves",
]

Json = dict[str, Any]

_ID_LENGTH = 25  # as BuildKit's


class Shelf(Protocol):
    """One sort of what builds keep."""

    async def items(self) -> list[Item]:
        """Return all that there is."""

    async def remove(self, ids: Collection[str]) -> int:
        """Remove items that nobody is using; return the bytes that the disk got back. Raises `errors.Error` and
        `OSError`."""


class StepShelf:
    """Steps and their layers."""

    def __init__(self, cache: Cache, images: Images) -> None:
        self._cache = cache
        self._images = images

    async def items(self) -> list[Item]:
        return await asyncio.to_thread(self._items, sorted(self._cache, key=lambda record: record.created_at))

    async def remove(self, ids: Collection[str]) -> int:
        records = [record for record in self._cache if _id(record) in ids and not self._cache.in_use(record.key)]
        names = {name for record in records for name in names_of_step(record)}
        lease = self._images.lease()
        for name in names:
            lease.hold(name)  # so that nobody takes it for a stray before it is collected
        try:
            await self._cache.drop([record.key for record in records])
        finally:
            freed = await asyncio.to_thread(self._collect, lease, names)
        return freed

    def _collect(self, lease: Lease, names: Collection[str]) -> int:
        depot = self._images.depot
        sizes = {name: allocated(depot, name) for name in names if depot.has(name)}
        lease.release()
        return sum(size for name, size in sizes.items() if not depot.has(name))

    def _items(self, records: list[BuildStepRecord]) -> list[Item]:
        depot = self._images.depot
        elsewhere = {name for image in self._images.records() for name in names_of(image, depot.layers)}
        makers = {chain_ids([*record.base, record.layer.diff_id])[-1]: _id(record) for record in records}
        seen: set[str] = set()
        items = []
        for record in records:
            names = {name for name in names_of_step(record) if depot.has(name)}
            parent = makers.get(chain_ids(record.base)[-1]) if record.base else None
            items.append(
                Item(
                    id=_id(record),
                    kind=record.kind,
                    description=record.description,
                    parents=(parent,) if parent else (),
                    size=sum(allocated(depot, name) for name in names - seen),
                    shared=bool(names & elsewhere) or names <= seen,
                    in_use=self._cache.in_use(record.key),
                    created_at=record.created_at,
                    used_at=record.used_at,
                    uses=record.uses,
                    depth=len(record.base),
                )
            )
            seen |= names
        return items


class MountShelf:
    """Directories of cache mounts."""

    def __init__(self, mounts: CacheMounts) -> None:
        self._mounts = mounts

    async def items(self) -> list[Item]:
        return [
            Item(
                id=_hashed(mount.name),
                kind="exec.cachemount",
                description=f"cached mount {mount.id}",
                size=mount.size,
                in_use=mount.in_use,
                created_at=mount.created_at,
                used_at=mount.used_at,
                uses=mount.uses,
            )
            for mount in await asyncio.to_thread(self._mounts.all)
        ]

    async def remove(self, ids: Collection[str]) -> int:
        mounts = await asyncio.to_thread(self._mounts.all)
        return sum(mount.size for mount in mounts if _hashed(mount.name) in ids and self._mounts.remove(mount.name))


class ContextShelf:
    """Files of contexts that no build uses, those together that were used together."""

    def __init__(self, store: ContextStore) -> None:
        self._store = store

    async def items(self) -> list[Item]:
        return [
            Item(
                id=id,
                kind="source.local",
                description=f"local source: {len(files)} files",
                size=sum(file.size for file in files),
                created_at=files[0].used_at,
                used_at=files[0].used_at,
                uses=1,
            )
            for id, files in (await asyncio.to_thread(self._by_use)).items()
        ]

    async def remove(self, ids: Collection[str]) -> int:
        def drop() -> int:
            found = self._by_use()
            return self._store.drop([file.digest for id in ids if id in found for file in found[id]])

        return await asyncio.to_thread(drop)

    def _by_use(self) -> dict[str, list[Loose]]:
        groups: dict[str, list[Loose]] = {}
        for file in self._store.loose():
            groups.setdefault(_hashed(f"context {file.used_at // SECOND}"), []).append(file)
        return groups


def shelves(engine: Engine) -> tuple[Shelf, ...]:
    """Return all that the engine's builds keep."""
    return (
        StepShelf(engine.build_cache, engine.images),
        MountShelf(engine.builds.mounts),
        ContextShelf(engine.builds.contexts.store),
    )


async def items_of(engine: Engine) -> list[Item]:
    """Return every item of the cache."""
    return [item for shelf in shelves(engine) for item in await shelf.items()]


async def cache_usage(engine: Engine) -> list[Json]:
    """Return the items of the cache in the API's form, those first that were used last."""
    items = sorted(await items_of(engine), key=lambda item: (-item.used_at, -item.depth))
    return [item_json(item) for item in items]


def item_json(item: Item) -> Json:
    """Return an item as ``BuildCache`` has it."""
    answer: Json = {
        "ID": item.id,
        "Type": item.kind,
        "Description": item.description,
        "InUse": item.in_use,
        "Shared": item.shared,
        "Size": item.size,
        "CreatedAt": format_rfc3339(item.created_at),
        "LastUsedAt": format_rfc3339(item.used_at) if item.used_at else None,
        "UsageCount": item.uses,
    }
    return answer | {"Parents": list(item.parents)} if item.parents else answer


def only_cached(engine: Engine) -> int:
    """Return the bytes of blobs and layers that the build cache alone keeps. Blocks; call it in a thread."""
    depot = engine.images.depot
    elsewhere = {name for image in engine.images.records() for name in names_of(image, depot.layers)}
    names = {name for record in engine.build_cache for name in names_of_step(record)} - elsewhere
    return sum(allocated(depot, name) for name in names if depot.has(name))


def _id(record: BuildStepRecord) -> str:
    return record.key.rpartition(":")[2][:_ID_LENGTH]


def _hashed(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:_ID_LENGTH]
