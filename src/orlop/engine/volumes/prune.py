"""`POST /volumes/prune`: remove what nobody uses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from orlop.engine.volumes.remove import remove
from orlop.engine.volumes.users import references
from orlop.errors import Conflict, NotFound
from orlop.formats.filters import Filters
from orlop.linux.tree import measure
from orlop.volume.device import needs_mount

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["FILTERS", "prune"]

FILTERS = ("all", "label", "label!")


async def prune(engine: Engine, filters: Filters) -> dict[str, Any]:
    """Remove every volume that no container has: anonymous ones, or all with the filter ``all=1``.

    As in Docker, one with a device stays: what it holds is elsewhere.
    """
    everything = filters.boolean("all")
    used = references(engine)
    deleted, reclaimed = [], 0
    for record in engine.volumes.list():
        if record.name in used or needs_mount(record.options) or not (everything or record.anonymous):
            continue
        if not filters.match_prune_labels(record.labels):
            continue
        size = await asyncio.to_thread(measure, engine.volumes.path(record))
        try:
            await remove(engine, record.name)
        except (Conflict, NotFound):
            continue  # somebody was faster, in either direction
        deleted.append(record.name)
        reclaimed += size.allocated
    engine.events.publish("volume", "prune", "", {"reclaimed": str(reclaimed)})
    return {"VolumesDeleted": deleted or None, "SpaceReclaimed": reclaimed}
