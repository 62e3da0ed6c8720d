"""`POST /images/prune`: remove images that nobody has a name for, or all that no container uses."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from orlop.engine.images.attributes import labels_of
from orlop.engine.images.remove import children, settle, take_away
from orlop.errors import Conflict, NotFound
from orlop.formats.duration import parse_time
from orlop.formats.filters import Filters
from orlop.image.collect import names_of
from orlop.image.usage import allocated
from orlop.model.record import ImageRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["FILTERS", "prune"]

Json = dict[str, Any]

FILTERS = ("dangling", "label", "label!", "until")


async def prune(engine: Engine, filters: Filters) -> Json:
    """Remove images without a tag that no container has; with ``dangling=false`` all that no container has.

    Without further filters what was kept of downloads that broke off goes, too. Return what was untagged and deleted,
    and the bytes that the disk got back.
    """
    dangling = filters.boolean("dangling", default=True)
    until = filters.single("until")
    limit = parse_time(until, time.time_ns()) if until else None
    doomed = [
        record
        for record in engine.images
        if not (dangling and engine.images.names(record.id))
        and not (limit is not None and record.created_at >= limit)
        and filters.match_prune_labels(_labels(engine, record))
    ]
    sizes = await asyncio.to_thread(_sizes, engine, doomed)
    removed: list[Json] = []
    for record in doomed:
        removed += await _remove(engine, record)
    reclaimed = sum(size for name, size in sizes.items() if not engine.images.depot.has(name))
    if filters.fields.keys() <= {"dangling"}:
        reclaimed += await asyncio.to_thread(engine.images.partials.drop)
    await settle(engine)
    engine.events.publish("image", "prune", "", {"reclaimed": str(reclaimed)})
    return {"ImagesDeleted": removed or None, "SpaceReclaimed": reclaimed}


async def _remove(engine: Engine, record: ImageRecord) -> list[Json]:
    """Remove an image with all its names, unless a container has it or another image was made from it."""
    names = [name.familiar() for name in engine.images.references(record.id)]
    if not names and children(engine, record.id):
        return []  # it goes with the last of its children
    if record.id in {container.record.image_id for container in engine.containers}:
        return []
    removed: list[Json] = []
    for name in names or [record.id]:
        try:
            removed += await take_away(engine, name)
        except (Conflict, NotFound):
            continue  # a container was made from it, or somebody removed it meanwhile
    return removed


def _sizes(engine: Engine, records: list[ImageRecord]) -> dict[str, int]:
    """Return the bytes of every blob and layer of `records`."""
    depot = engine.images.depot
    names = {name for record in records for name in names_of(record, depot.layers)}
    return {name: allocated(depot, name) for name in names}


def _labels(engine: Engine, record: ImageRecord) -> dict[str, str]:
    try:
        return labels_of(engine, record)
    except NotFound:
        return {}
