"""One build in the solver: what is known of each node, and how a step gets its layer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from orlop.build.cache import Cache, Use, names_of_step, whole
from orlop.build.contents import Contents, Selections, chain_of, select_contents
from orlop.build.explaining import Explaining
from orlop.build.failure import BuildFailed
from orlop.build.flights import Flights
from orlop.build.graph import BaseImage, Exec, Files, Graph, Scratch, Step
from orlop.build.inline_cache import Found, Made, read_cache
from orlop.build.keys import Key, exec_key, files_key, names_owner, printable
from orlop.build.last_builds import LastBuilds
from orlop.build.progress import Report
from orlop.build.request import BuildRequest
from orlop.build.schedule import Unit, inputs_of, link_unit, sources_of
from orlop.build.telling import Telling, vertex_of
from orlop.build.worker import ExecFailed, ExecJob, FilesJob, FileSystem, Sink, Worker
from orlop.errors import Error, NotFound
from orlop.formats.identity import chain_ids
from orlop.image.images import Images
from orlop.image.layers import chain_name, diff_name
from orlop.image.leases import Lease
from orlop.model.record import BuildStepRecord, LayerRecord

__all__ = ["Shared", "Solving"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all builds of an engine share."""

    cache: Cache
    images: Images
    last_builds: LastBuilds
    flights: Flights
    selections: Selections
    commands: asyncio.Semaphore
    copies: asyncio.Semaphore


@dataclass(frozen=True, slots=True)
class _Keyed:
    """A step's key, and what its node takes."""

    key: Key
    contents: Contents


class Solving:
    """A build that is under way. `solve` a unit when those before it are done."""

    def __init__(
        self, shared: Shared, graph: Graph, request: BuildRequest, worker: Worker, report: Report, lease: Lease
    ) -> None:
        self.use = Use()
        self.created_at: dict[int, int] = {}
        self.keys: dict[int, str] = {}
        self.done: dict[int, FileSystem] = {}
        self._shared = shared
        self._graph = graph
        self._request = request
        self._worker = worker
        self._report = report
        self._lease = lease
        self._epoch = graph.epoch
        self._steps: dict[int, Step] = {}
        for step in reversed(graph.steps):
            if not step.metadata:
                self._steps[step.node] = step
        self._linked: dict[int, BuildStepRecord] = {}
        self._explaining = Explaining(shared.last_builds, graph, request)
        self._imported: dict[str, Found] | None = None

    async def solve(self, unit: Unit) -> None:
        """Find out the file system of a node, or the layer of a linked one. Raises `BuildFailed` and `errors.Error`."""
        index = unit if unit >= 0 else link_unit(unit)
        node = self._graph.nodes[index]
        match node:
            case Scratch():
                self.done[index] = ()
                self._brought(index)
            case BaseImage():
                self.done[index] = self._base_image(node)
                self._brought(index)
            case Files(link=True) if unit != index:
                self._linked[index] = await self._layer(index, node, ())
            case Files(link=True):
                self._lay(index, self.done[node.base], self._linked.pop(index))
            case _:
                base = self.done[node.base]
                self._lay(index, base, await self._layer(index, node, base))

    def made(self, target: int) -> tuple[Made, ...]:
        """Return the steps that made the topmost layers of a solved node, bottom first."""
        made: list[Made] = []
        node = self._graph.nodes[target]
        while isinstance(node, Files | Exec):
            made.append(Made(self.keys[target], self.done[target][-1].diff_id, self.created_at[target]))
            target = node.base
            node = self._graph.nodes[target]
        return tuple(reversed(made))

    async def remember(self) -> None:
        """Keep what the steps were made of, for the next build of this target to tell what changed."""
        await self._explaining.remember()

    def _lay(self, index: int, base: FileSystem, record: BuildStepRecord) -> None:
        self.done[index] = (*base, record.layer)
        self.created_at[index] = record.created_at
        self.keys[index] = record.key

    def _base_image(self, node: BaseImage) -> FileSystem:
        record = self._shared.images.get(node.image_id)
        if tuple(layer.diff_id for layer in record.layers) != node.diff_ids:
            raise NotFound(f"No such image: {node.reference}")
        self._hold(self._lease, record.layers)
        return record.layers

    def _brought(self, index: int) -> None:
        """Tell of a FROM, whose image is there already."""
        telling = Telling(self._report, self._steps.get(index))
        telling.began(())
        telling.cached()

    async def _layer(self, index: int, node: Files | Exec, base: FileSystem) -> BuildStepRecord:
        """Return the record of a step on a base: of the cache, or of a worker."""
        step = self._steps.get(index)
        telling = Telling(self._report, step)
        telling.began(tuple(vertex_of(self._steps[before]) for before in inputs_of(node) if before in self._steps))
        try:
            keyed = await self._keyed(node, base, telling)
            record = await self._result(keyed, node, base, step, telling)
        except asyncio.CancelledError:
            telling.cancelled()
            raise
        except Exception as error:
            failure = _failure(error, node, step)
            telling.failed(str(failure or error))
            if failure is None:
                raise
            raise failure from error
        if step is not None:
            self._explaining.note(step, keyed.key, keyed.contents)
        return record

    async def _result(
        self, keyed: _Keyed, node: Files | Exec, base: FileSystem, step: Step | None, telling: Telling
    ) -> BuildStepRecord:
        """Return what the cache has for a key, or let it be made; tell which."""
        key, cache = keyed.key.key, self._shared.cache
        fresh = step is not None and step.no_cache and key not in self.use.keys
        record = None if fresh else await self._find(key, base, step)
        if record is not None:
            cache.use(self.use, key, time.time_ns())
            telling.cached(record)
            return record
        if step is not None:
            why = await self._explaining.why(step, keyed.key, keyed.contents, self._called(node.base))
            telling.why(key, *why)
        record = await self._shared.flights.take(
            key,
            lambda lease, sink: self._make(node, base, key, step, lease, sink),
            telling,
            self._lease,
            owner=self._worker,
            fresh=fresh,
        )
        cache.use(self.use, key, time.time_ns())
        telling.made(record)
        return record

    def _called(self, index: int) -> str:
        """Return what a node is called where it is told that it changed."""
        node = self._graph.nodes[index]
        if isinstance(node, BaseImage):
            return node.reference
        return self._steps[index].text if index in self._steps else ""

    # Keys

    async def _keyed(self, node: Files | Exec, base: FileSystem, telling: Telling) -> _Keyed:
        chain, nodes = chain_of(base), self._nodes(node)
        contents = await select_contents(node, nodes, self._worker, self._shared.selections, telling)
        if isinstance(node, Exec):
            return _Keyed(exec_key(node, chain, contents.digests, self._epoch), contents)
        owners = await self._worker.owner_files(base) if names_owner(node) else ""
        return _Keyed(files_key(node, chain, contents.digests, owners, self._epoch), contents)

    def _nodes(self, node: Files | Exec) -> dict[int, FileSystem]:
        return {source: self.done[source] for source in sources_of(node)}

    # Looking for a layer

    async def _find(self, key: str, base: FileSystem, step: Step | None) -> BuildStepRecord | None:
        """Return the record that the cache, or an image of `--cache-from`, has; its layer is held then."""
        record = self._shared.cache.find(key)
        if record is not None and self._take(record):
            return record
        found = self._imports().get(key)
        if found is None:
            return None
        record = self._record(key, base, found.layer, step, created_at=found.created_at)
        if not self._take(record):
            return None
        await self._shared.cache.put(record)
        return record

    def _take(self, record: BuildStepRecord) -> bool:
        """Hold the layer of a record; tell whether it is there."""
        for name in names_of_step(record):
            self._lease.hold(name)
        return whole(record, self._shared.images.depot)

    def _imports(self) -> Mapping[str, Found]:
        """Return what the images of `--cache-from` have; names of none, and images without a cache, are passed over."""
        if self._imported is None:
            self._imported = {}
            for name in self._request.cache_from:
                try:
                    image = self._shared.images.resolve(name)
                    found = read_cache(self._shared.images.config(image), image.layers)
                except Error as error:
                    log.info("cache-from %s is passed over: %s", name, error)
                    continue
                self._imported = {**found, **self._imported}
        return self._imported

    # Making a layer

    async def _make(
        self, node: Files | Exec, base: FileSystem, key: str, step: Step | None, lease: Lease, sink: Sink
    ) -> BuildStepRecord:
        """Let the worker make a layer and put its record in the cache. This runs on when the build is cancelled, if
        others wait for it."""
        nodes = self._nodes(node)
        for file_system in (base, *nodes.values()):
            self._hold(lease, file_system)
        if isinstance(node, Exec):
            async with self._shared.commands:
                job = ExecJob(node, base, nodes, self._epoch, keep_failed=self._request.keep_failed)
                made = await self._worker.execute(job, lease, sink)
        else:
            async with self._shared.copies:
                made = await self._worker.files(FilesJob(node, base, nodes, self._epoch), lease, sink)
        record = self._record(key, base, made.layer, step, seconds=made.seconds, boot_id=self._shared.cache.boot)
        for name in names_of_step(record):
            lease.hold(name)
        await self._shared.cache.put(record)
        return record

    def _record(
        self,
        key: str,
        base: FileSystem,
        layer: LayerRecord,
        step: Step | None,
        *,
        created_at: int = 0,
        seconds: float = 0.0,
        boot_id: str = "",
    ) -> BuildStepRecord:
        now = time.time_ns()
        return BuildStepRecord(
            key=key,
            layer=layer,
            base=tuple(below.diff_id for below in base),
            description=printable(step.name) if step is not None else "",
            created_at=created_at or now,
            used_at=now,
            seconds=seconds,
            boot_id=boot_id,
        )

    def _hold(self, lease: Lease, layers: FileSystem) -> None:
        """Hold the layers of a file system, wherever they are."""
        diff_ids = [layer.diff_id for layer in layers]
        for layer, chain_id in zip(layers, chain_ids(diff_ids), strict=True):
            for name in filter(None, (layer.blob, diff_name(layer.diff_id), chain_name(chain_id))):
                lease.hold(name)


def _failure(error: Exception, node: Files | Exec, step: Step | None) -> BuildFailed | None:
    """Return the failure of a step that an error is, None for a defect of the program."""
    if isinstance(error, ExecFailed) and isinstance(node, Exec):
        return BuildFailed.of_command(node.arguments, step, error)
    if isinstance(error, OSError):
        return BuildFailed((error.strerror or str(error)).lower(), step)
    return BuildFailed.of_error(error, step) if isinstance(error, Error) else None
