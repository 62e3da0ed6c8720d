"""`GET /containers/{id}/stats`: counters once a second, each beside the ones before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from orlop.engine.containers.registry import Container
from orlop.linux import cgroup
from orlop.runtime import stats as readings
from orlop.runtime.stats import Sample

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["stats"]

Json = dict[str, Any]
PERIOD = 1.0  # seconds


async def stats(engine: Engine, ref: str, *, stream: bool, one_shot: bool) -> AsyncIterator[Json]:
    """Yield statistics: once, or every second until the container is gone or the reader leaves.

    Without `one_shot` even a single answer takes two readings, a second apart, so that rates can be computed.
    """
    container = engine.containers.resolve(ref)
    return _readings(engine, container, stream, one_shot)


async def _readings(engine: Engine, container: Container, stream: bool, one_shot: bool) -> AsyncIterator[Json]:
    previous: Sample | None = None
    if not stream and not one_shot and container.running:
        previous = await _sample(engine, container)
        await asyncio.sleep(PERIOD)
    while True:
        sample = await _sample(engine, container) if container.running else None
        yield readings.docker_stats(container.record, sample, previous)
        if not stream or engine.containers.get(container.id) is None:
            return
        previous = sample
        await asyncio.sleep(PERIOD)


async def _sample(engine: Engine, container: Container) -> Sample | None:
    group = cgroup.open_cgroup(engine.cgroup_path(container.record))
    return await asyncio.to_thread(readings.sample, group, container.state.pid)
