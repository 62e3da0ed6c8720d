"""`GET /volumes/{name}`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.formats.duration import SECOND, format_rfc3339
from orlop.model.record import VolumeRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["inspect", "volume_json"]


async def inspect(engine: Engine, name: str) -> dict[str, Any]:
    """Return what is known of a volume. Raises `NotFound`."""
    return volume_json(engine, engine.volumes.get(name))


def volume_json(engine: Engine, record: VolumeRecord) -> dict[str, Any]:
    """Return a volume as the API shows it."""
    return {
        "CreatedAt": format_rfc3339(record.created_at // SECOND * SECOND),
        "Driver": record.driver,
        "Labels": record.labels or None,
        "Mountpoint": engine.volumes.path(record),
        "Name": record.name,
        "Options": record.options or None,
        "Scope": "local",
    }
