"""`pause` and `unpause`: the cgroup freezer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orlop.engine.containers import events, health
from orlop.engine.containers.registry import Container
from orlop.errors import Conflict, Internal
from orlop.linux import cgroup

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["pause", "thaw", "unpause"]


async def pause(engine: Engine, ref: str) -> None:
    """Freeze every process of a container."""
    async with engine.containers.locked(ref) as container:
        if container.state.status == "paused":
            raise Conflict(f"container {container.id} is already paused")
        if container.state.status == "restarting":
            raise Conflict(f"container {container.id} is restarting, wait until the container is running")
        if not container.running:
            raise Conflict(f"container {container.id} is not running")
        try:
            await asyncio.to_thread(cgroup.open_cgroup(engine.cgroup_path(container.record)).freeze)
        except OSError as error:
            raise Internal(f"cannot pause container {ref}: {error.strerror}") from error
        if not container.running:
            raise Conflict(f"container {container.id} is not running")  # it ended meanwhile
        engine.containers.note_state(container, status="paused")
        health.end(container)
    events.publish(engine, container, "pause")


async def unpause(engine: Engine, ref: str) -> None:
    """Let a frozen container go on."""
    async with engine.containers.locked(ref) as container:
        if container.state.status != "paused":
            raise Conflict(f"Container {container.id} is not paused")
        await thaw(engine, container)


async def thaw(engine: Engine, container: Container) -> None:
    """Thaw a frozen container and say so."""
    await asyncio.to_thread(cgroup.open_cgroup(engine.cgroup_path(container.record)).thaw)
    if container.state.status == "paused":
        engine.containers.note_state(container, status="running")
        events.publish(engine, container, "unpause")
        health.begin(engine, container)
