"""`GET /containers/{id}/export`: a container's file tree as an archive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from orlop.engine.containers import events
from orlop.engine.containers.registry import Container
from orlop.errors import Conflict, Internal
from orlop.image.derive import hold
from orlop.image.outlet import flow
from orlop.image.tree_tar import write_tree

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["export"]


async def export(engine: Engine, ref: str) -> AsyncGenerator[bytes, None]:
    """Yield the archive of a container's files, running or not; of what is mounted in it nothing.

    A container that goes on is read as it changes. Raises `NotFound` and `Conflict` before the first block; an error
    after that means that there is no archive.
    """
    container = engine.containers.resolve(ref)
    _check(container)
    image = engine.images.get(container.record.image_id)
    lease = engine.images.lease()
    try:
        await asyncio.to_thread(hold, engine.images.depot, lease, image)
        rootfs = engine.snapshots.prepare(container.id, image)
        created_at = container.record.created_at

        def check() -> None:
            if container.gone:
                raise Internal(f"Error exporting container {container.id}: it was removed meanwhile")

        blocks = flow(
            lambda write: write_tree(rootfs, created_at, write, check, container.state.pid), "container-export"
        )
        async with aclosing(blocks):
            async for block in blocks:
                yield block
        events.publish(engine, container, "export")
    finally:
        await asyncio.to_thread(lease.release)


def _check(container: Container) -> None:
    if container.state.status == "dead":
        raise Conflict(f"You cannot export container {container.id} which is Dead")
    if container.state.status == "removing":
        raise Conflict(f"You cannot export container {container.id} which is being removed")
