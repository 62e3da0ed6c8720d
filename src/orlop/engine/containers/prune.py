"""`POST /containers/prune`: remove what does not run."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from orlop.engine.containers import remove
from orlop.errors import Conflict, NotFound
from orlop.formats.duration import parse_time
from orlop.formats.filters import Filters

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["FILTERS", "prune"]

FILTERS = ("label", "label!", "until")


async def prune(engine: Engine, *, filters: Filters) -> dict[str, Any]:
    """Remove every stopped container that matches; return their ids and the bytes that were freed."""
    until = filters.single("until")
    limit = parse_time(until, time.time_ns()) if until else None
    deleted, space = [], 0
    for container in engine.containers:
        if container.running or container.state.status in ("restarting", "removing"):
            continue
        if limit is not None and container.record.created_at >= limit:
            continue
        if not filters.match_prune_labels(container.record.config.labels):
            continue
        size = await asyncio.to_thread(engine.snapshots.allocated, container.id)
        try:
            await remove.remove(engine, container.id)
        except (Conflict, NotFound):
            continue  # it was started or removed meanwhile
        deleted.append(container.id)
        space += size
    engine.events.publish("container", "prune", "", {"reclaimed": str(space)})
    return {"ContainersDeleted": deleted or None, "SpaceReclaimed": space}
