"""`POST /containers/{id}/resize`: the size of a container's terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.containers import events
from orlop.errors import Conflict

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["resize"]


async def resize(engine: Engine, ref: str, *, height: int, width: int) -> None:
    """Tell the container's terminal its size in characters."""
    container = engine.containers.resolve(ref)
    if container.task is None or not container.running:
        raise Conflict(f"container {container.id} is not running")
    await container.task.resize(height, width)
    events.publish(engine, container, "resize", height=str(height), width=str(width))
