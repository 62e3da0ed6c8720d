"""What `docker system prune` asks for, beside containers, volumes and images: networks, the build cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.formats.filters import Filters

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["BUILD_FILTERS", "NETWORK_FILTERS", "prune_build_cache", "prune_networks"]

Json = dict[str, Any]

NETWORK_FILTERS = ("label", "label!", "until")
BUILD_FILTERS = ("description", "id", "inuse", "parent", "private", "shared", "type", "until", "unused-for")


async def prune_networks(engine: Engine, filters: Filters) -> Json:
    """Remove networks that nobody uses: the predefined ones, the only ones there are, always stay."""
    engine.events.publish("network", "prune", "", {"reclaimed": "0"})
    return {"NetworksDeleted": None}


async def prune_build_cache(engine: Engine, filters: Filters) -> Json:
    """Remove what builds keep: nothing, for nothing was built."""
    return {"CachesDeleted": None, "SpaceReclaimed": 0}
