"""The solver: from a graph to the file system of its target, with as little work as the cache allows.

Keys are known from the bottom up: a node's needs the results of its inputs, which the cache or a worker gives. What a
worker makes is in the cache before anybody hears of it, so that the end of the daemon loses no finished step; it
reaches the disk once, at the end of the build. Steps that several builds want at the same time run once
(`orlop.build.flights`).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass

from orlop.build.cache import Cache
from orlop.build.contents import Selections
from orlop.build.flights import Flights
from orlop.build.graph import Graph
from orlop.build.inline_cache import Made
from orlop.build.last_builds import LastBuilds
from orlop.build.progress import Report
from orlop.build.request import BuildRequest
from orlop.build.schedule import carry_out, units
from orlop.build.solving import Shared, Solving
from orlop.build.worker import FileSystem, Worker
from orlop.errors import Error, Unavailable
from orlop.image.images import Images
from orlop.image.leases import Lease

__all__ = ["Solved", "Solver"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Solved:
    """What came of a graph: the file system that was asked for, those of all nodes that it needed, and for the nodes
    that are steps, when their layers were made (ns) and their keys. `made` are the steps of the file system itself,
    bottom first, for `inline_cache.cache_document`.
    """

    file_system: FileSystem
    file_systems: Mapping[int, FileSystem]
    created_at: Mapping[int, int]
    keys: Mapping[int, str]
    made: tuple[Made, ...]


class Solver:
    """The solver of one engine; all of its builds share what is under way.

    `parallel` is how many commands run at once, over all builds. By default it is twice the number of processors and
    at least 4: a step waits for a network or a disk about half of its time, and more at once would only share the same
    processors and the same memory.
    """

    def __init__(self, cache: Cache, images: Images, last_builds: LastBuilds, *, parallel: int = 0) -> None:
        cores = len(os.sched_getaffinity(0))
        self._shared = Shared(
            cache=cache,
            images=images,
            last_builds=last_builds,
            flights=Flights(images.lease),
            selections=Selections(),
            commands=asyncio.Semaphore(parallel or max(4, 2 * cores)),
            copies=asyncio.Semaphore(max(4, cores)),
        )

    async def solve(
        self,
        graph: Graph,
        request: BuildRequest,
        worker: Worker,
        report: Report,
        lease: Lease,
        *,
        node: int | None = None,
    ) -> Solved:
        """Solve the graph for `node`, the target's by default, and tell each step's progress.

        What the result consists of is on the disk, and held by `lease`, which is the caller's. Raises `BuildFailed`
        for a step that failed, `errors.Error` for anything else; what was finished stays in the cache. If the caller
        is cancelled nothing of its own runs on; but other builds may still need the worker, see `drained`.
        """
        target = graph.target.node if node is None else node
        solving = Solving(self._shared, graph, request, worker, report, lease)
        try:
            await carry_out(units(graph, target), solving.solve)
            await self._settle(solving)
            if node is None:
                await self._remember(solving)
            return Solved(
                file_system=solving.done[target],
                file_systems=solving.done,
                created_at=solving.created_at,
                keys=solving.keys,
                made=solving.made(target),
            )
        finally:
            self._shared.cache.release(solving.use)

    async def drained(self, worker: Worker) -> None:
        """Return when no step that `worker` was given is under way any more, for its own build or for another."""
        await self._shared.flights.drained(worker)

    async def _settle(self, solving: Solving) -> None:
        """Bring to the disk what the build relies on and is not there yet."""
        if not self._shared.cache.unsettled(solving.use.keys):
            await self._shared.cache.note_uses()
            return
        try:
            await self._shared.cache.settle(self._shared.images.sync)
        except OSError as error:
            raise Unavailable(f"the layers could not be written to the disk: {error.strerror}") from error

    async def _remember(self, solving: Solving) -> None:
        try:
            await solving.remember()
        except (Error, OSError) as error:
            log.warning("what this build was made of is not remembered: %s", error)
