"""What `docker system prune` asks for, beside containers and volumes: images, networks, the build cache."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from orlop.engine.images.remove import remove
from orlop.engine.system.usage import layers_size
from orlop.errors import Conflict, NotFound
from orlop.formats.duration import parse_time
from orlop.formats.filters import Filters
from orlop.model.record import ImageRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["BUILD_FILTERS", "IMAGE_FILTERS", "NETWORK_FILTERS", "prune_build_cache", "prune_images", "prune_networks"]

Json = dict[str, Any]

IMAGE_FILTERS = ("dangling", "label", "label!", "until")
NETWORK_FILTERS = ("label", "label!", "until")
BUILD_FILTERS = ("description", "id", "inuse", "parent", "private", "shared", "type", "until", "unused-for")


async def prune_images(engine: Engine, filters: Filters) -> Json:
    """Remove images without a name that no container has; with ``dangling=false`` all that no container has."""
    dangling = filters.boolean("dangling", default=True)
    until = filters.single("until")
    limit = parse_time(until, time.time_ns()) if until else None
    used = {container.record.image_id for container in engine.containers}
    before = layers_size(engine)
    removed: list[Json] = []
    for record in list(engine.images):
        names = engine.images.names(record.id)
        if record.id in used or (dangling and names) or (limit is not None and record.created_at >= limit):
            continue
        if filters.match_prune_labels(_labels(engine, record)):
            removed += await _remove(engine, names or [record.id])
    reclaimed = max(0, before - layers_size(engine))
    engine.events.publish("image", "prune", "", {"reclaimed": str(reclaimed)})
    return {"ImagesDeleted": removed or None, "SpaceReclaimed": reclaimed}


async def prune_networks(engine: Engine, filters: Filters) -> Json:
    """Remove networks that nobody uses: the predefined ones, the only ones there are, always stay."""
    engine.events.publish("network", "prune", "", {"reclaimed": "0"})
    return {"NetworksDeleted": None}


async def prune_build_cache(engine: Engine, filters: Filters) -> Json:
    """Remove what builds keep: nothing, for nothing was built."""
    return {"CachesDeleted": None, "SpaceReclaimed": 0}


async def _remove(engine: Engine, names: list[str]) -> list[Json]:
    removed: list[Json] = []
    for name in names:
        try:
            removed += await remove(engine, name, force=False, noprune=False)
        except (Conflict, NotFound):
            continue  # a container was made from it, or somebody removed it meanwhile
    return removed


def _labels(engine: Engine, record: ImageRecord) -> dict[str, str] | None:
    labels: dict[str, str] | None = (engine.images.config(record).get("config") or {}).get("Labels")
    return labels
