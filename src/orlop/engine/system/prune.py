"""What `docker system prune` asks for, beside containers, volumes, images and the build cache: networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.formats.filters import Filters

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["NETWORK_FILTERS", "prune_networks"]

Json = dict[str, Any]

NETWORK_FILTERS = ("label", "label!", "until")


async def prune_networks(engine: Engine, filters: Filters) -> Json:
    """Remove networks that nobody uses: the predefined ones, the only ones there are, always stay."""
    engine.events.publish("network", "prune", "", {"reclaimed": "0"})
    return {"NetworksDeleted": None}
