"""`GET /containers/{id}/changes`: what differs between a container and its image."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from orlop.image import compare

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["changes"]


async def changes(engine: Engine, ref: str) -> list[dict[str, Any]]:
    """Return ``{"Path", "Kind"}`` of every path that was modified (0), added (1) or deleted (2)."""
    container = engine.containers.resolve(ref)
    image = engine.images.get(container.record.image_id)
    rootfs = engine.snapshots.prepare(container.id, image)
    return await asyncio.to_thread(compare.changes, rootfs)
