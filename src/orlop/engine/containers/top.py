"""`GET /containers/{id}/top`: the processes of a container."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from orlop.engine.containers import events
from orlop.errors import Conflict
from orlop.linux import cgroup
from orlop.runtime import top as table

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["top"]


async def top(engine: Engine, ref: str, *, ps_args: str = "") -> dict[str, Any]:
    """Return the titles and rows of ps(1) for the container's processes, with their ids on the host."""
    container = engine.containers.resolve(ref)
    if container.state.status == "restarting":
        raise Conflict(f"container {container.id} is restarting, wait until the container is running")
    if not container.running:
        raise Conflict(f"container {container.id} is not running")
    pids = await asyncio.to_thread(cgroup.open_cgroup(engine.cgroup_path(container.record)).processes)
    titles, rows = await table.processes(sorted(pids), ps_args)
    events.publish(engine, container, "top")
    return {"Processes": rows, "Titles": titles}
