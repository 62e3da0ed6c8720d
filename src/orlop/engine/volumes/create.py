"""`POST /volumes/create`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.engine.volumes import events
from orlop.engine.volumes.inspect import volume_json
from orlop.model.api.volume import VolumeCreate

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["create"]


async def create(engine: Engine, request: VolumeCreate) -> dict[str, Any]:
    """Create a volume, or return the one of that name, whatever else is asked. Raises `InvalidArgument`."""
    existed = engine.volumes.exists(request.name)
    record = await engine.volumes.create(request)
    if not existed:
        events.publish(engine, record, "create")
    return volume_json(engine, record)
