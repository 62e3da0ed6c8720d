"""`GET /volumes`: `docker volume ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.engine.volumes.inspect import volume_json
from orlop.engine.volumes.users import references
from orlop.formats.filters import Filters

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["FILTERS", "list_volumes"]

FILTERS = ("dangling", "driver", "label", "name")


async def list_volumes(engine: Engine, filters: Filters) -> dict[str, Any]:
    """Return all volumes that match, by name. A dangling volume is one that no container has."""
    used = references(engine)
    dangling = filters.boolean("dangling") if filters.has("dangling") else None
    chosen = [
        volume_json(engine, record)
        for record in engine.volumes.list()
        if (dangling is None or (record.name not in used) == dangling)
        and filters.regex("name", record.name)
        and filters.exact("driver", record.driver)
        and filters.match_labels(record.labels)
    ]
    return {"Volumes": chosen, "Warnings": None}
