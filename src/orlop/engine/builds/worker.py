"""The hands of one build: files by `orlop.build.files`, commands by `orlop.engine.builds.execute`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orlop.build.files.manifest import Manifest
from orlop.build.files.worker import FileWorker
from orlop.build.graph import CopyFiles, Input
from orlop.build.request import BuildRequest
from orlop.build.worker import ExecJob, FilesJob, FileSystem, Made, Selected, Sink
from orlop.engine.builds.execute import Executor
from orlop.image.leases import Lease

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["BuildWorker"]


class BuildWorker:
    """A `build.worker.Worker`; `contexts` are those that the client has sent, by name. `close` it when it is drained
    and settled."""

    def __init__(self, engine: Engine, request: BuildRequest, contexts: Mapping[str, Manifest]) -> None:
        builds = engine.builds
        self.contexts = FileWorker(engine.images.depot, builds.contexts.store, contexts)
        self._executor = Executor(engine, self.contexts, request.limits, builds.mounts, builds.kept)

    async def select(self, action: CopyFiles, nodes: Mapping[int, FileSystem], sink: Sink) -> Selected:
        return await self.contexts.select(action, nodes, sink)

    async def owner_files(self, base: FileSystem) -> str:
        return await self.contexts.owner_files(base)

    async def files(self, job: FilesJob, lease: Lease, sink: Sink) -> Made:
        return await self.contexts.files(job, lease, sink)

    async def execute(self, job: ExecJob, lease: Lease, sink: Sink) -> Made:
        return await self._executor.execute(job, lease, sink)

    def fixed(self, source: Input) -> bool:
        return self.contexts.fixed(source)

    async def settled(self) -> None:
        """Wait until nothing is left of the commands that ran."""
        await self._executor.settled()

    def close(self) -> None:
        """Let go of contexts, and of what was fetched."""
        self.contexts.close()
