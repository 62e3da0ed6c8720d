"""`POST /volumes/create`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.engine.volumes.inspect import volume_json
from orlop.model.api.volume import VolumeCreate
from orlop.model.record import VolumeRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["create", "ensure"]


async def create(engine: Engine, request: VolumeCreate) -> dict[str, Any]:
    """Create a volume, or return the one of that name. Raises `InvalidArgument`."""
    return volume_json(engine, await ensure(engine, request))


async def ensure(engine: Engine, request: VolumeCreate, anonymous: bool = False) -> VolumeRecord:
    """Return the volume of that name, made and announced if there was none."""
    existed = engine.volumes.exists(request.name)
    record = await engine.volumes.create(request, anonymous)
    if not existed:
        engine.events.publish("volume", "create", record.name, {"driver": record.driver})
    return record
