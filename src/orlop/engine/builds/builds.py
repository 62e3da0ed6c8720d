"""The builds of one engine: what they share, and those that are under way.

A build is a task. Who looks on reads its records; when they leave, and when somebody asks for its end, the task is
cancelled, and nothing of it runs on but what another build is waiting for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

from orlop.build.files.manifest import Manifest
from orlop.build.graph import Graph
from orlop.build.last_builds import LastBuilds
from orlop.build.progress import Finished, Progress
from orlop.build.request import BuildRequest
from orlop.build.solver import Solver
from orlop.engine.builds import prune
from orlop.engine.builds.build import Build, failure
from orlop.engine.builds.cache_mounts import CacheMounts
from orlop.engine.builds.contexts import Contexts
from orlop.engine.builds.credentials import Keyring
from orlop.engine.builds.kept import Kept
from orlop.engine.builds.outlet import Outlet
from orlop.engine.builds.worker import BuildWorker
from orlop.errors import Error, Unavailable

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["Builds", "Cancelled"]

Planned = Callable[[Graph], None]


class Cancelled(Error):
    """Somebody asked for the end of the build."""

    def __init__(self) -> None:
        super().__init__("context canceled")


class Builds:
    """Everything about builds that outlives one of them."""

    def __init__(self, engine: Engine) -> None:
        root, images = engine.config.data_root / "build", engine.images
        self._engine = engine
        self._running: dict[asyncio.Task[Finished], str] = {}  # with the ids that clients gave them
        self._collecting = asyncio.Lock()
        self.cache = engine.build_cache
        self.solver = Solver(self.cache, images, LastBuilds(root / "lists", engine.store, images.scratch))
        self.mounts = CacheMounts(root / "mounts", images.scratch)
        self.contexts = Contexts(root / "context", images.scratch)
        self.kept = Kept(engine, self.mounts)

    async def records(
        self,
        request: BuildRequest,
        contexts: Mapping[str, Manifest],
        *,
        id: str = "",
        keyring: Keyring | None = None,
        planned: Planned = lambda graph: None,
        told: bool = False,
    ) -> AsyncGenerator[Progress, None]:
        """Build; yield what happens, and `Finished` at last. Who closes this ends the build.

        `contexts` are those that the client has sent, by name, "" for the build's own. `planned` is told the graph.
        Raises what the build raises; with `told` only before the first record, while afterwards the last record tells
        of an error, too.
        """
        if self._engine.closing:
            raise Unavailable("the daemon is going down")
        outlet = Outlet()
        worker = BuildWorker(self._engine, request, contexts)
        build = Build(self._engine, request, worker, outlet.report, keyring=keyring, planned=planned)
        task = asyncio.create_task(self._carried_out(build, worker), name=f"build {id}")
        self._running[task] = id
        begun = False
        try:
            async with aclosing(outlet.records(task)) as records:
                async for record in records:
                    begun = True
                    yield record
            if task.cancelled():
                raise Cancelled
            yield task.result()
        except Error as error:
            if not (told and begun):
                raise
            yield failure(error, build.dockerfile)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            del self._running[task]

    def cancel(self, id: str) -> bool:
        """End the builds that a client gave this id; tell whether there was one."""
        found = [task for task, given in self._running.items() if id and given == id]
        for task in found:
            task.cancel()
        return bool(found)

    async def close(self) -> None:
        """End all builds and dismiss what was kept of some."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self.contexts.close()
        await self.kept.close()

    async def _carried_out(self, build: Build, worker: BuildWorker) -> Finished:
        try:
            return await build.run()
        finally:
            self._engine.spawn(self._finish(worker), "end of a build")
            await worker.settled()

    async def _finish(self, worker: BuildWorker) -> None:
        """Let go of what a build had when no other needs it any more, and keep the cache in its bounds."""
        await self.solver.drained(worker)
        await worker.settled()
        await asyncio.to_thread(worker.close)
        await asyncio.to_thread(self.contexts.store.collect)
        if not self._collecting.locked():
            async with self._collecting:
                await prune.collect(self._engine)
