"""What the solver needs, without a disk: images that are names, and a worker that makes layers of nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orlop.build.cache import Cache
from orlop.build.dockerfile.tree import Range
from orlop.build.graph import CopyFiles, Exec, Files, Git, Graph, Input, Node, Step, Target
from orlop.build.last_builds import LastBuilds
from orlop.build.progress import Began, Ended, Output, Progress
from orlop.build.request import BuildRequest
from orlop.build.solver import Solved, Solver
from orlop.build.worker import ExecFailed, ExecJob, FilesJob, FileSystem, Made, Selected, Sink
from orlop.errors import NotFound
from orlop.formats.identity import chain_ids
from orlop.image.layers import chain_name, diff_name
from orlop.image.leases import Lease, Leases
from orlop.image.scratch import Scratch as ScratchDirectory
from orlop.model.record import ImageRecord, LayerRecord
from orlop.store.store import Store

__all__ = ["FakeImages", "FakeWorker", "SolverLab", "command", "copy", "graph", "layer"]


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def layer(text: str) -> LayerRecord:
    """Return the layer that is made of `text`."""
    return LayerRecord(diff_id=digest(text), blob=digest(f"blob of {text}"), unpacked_size=len(text), size=len(text))


def command(base: int, script: str, **fields: Any) -> Exec:
    """Return a RUN."""
    return Exec(base, ("/bin/sh", "-c", script), fields.pop("environment", ()), "/", **fields)


def copy(base: int, source: Input, *paths: str, link: bool = False, **fields: Any) -> Files:
    """Return a COPY."""
    return Files(base, (CopyFiles(source, paths or (".",), "/", **fields),), link)


def graph(*nodes: Node, target: int | None = None, no_cache: Sequence[int] = ()) -> Graph:
    """Return a graph with a step for each node that is one, named by its place."""
    steps = tuple(
        Step(
            number=index + 1,
            name=f"step {index}",
            text=_text(node),
            stage="main",
            instruction="RUN" if isinstance(node, Exec) else "COPY",
            range=Range(index + 1, index + 1),
            node=index,
            no_cache=index in no_cache,
        )
        for index, node in enumerate(nodes)
        if isinstance(node, Exec | Files)
    )
    return Graph(nodes, steps, Target(len(nodes) - 1 if target is None else target, {}, ()))


def _text(node: Node) -> str:
    return f"RUN {node.arguments[-1]}" if isinstance(node, Exec) else "COPY"


class FakeDepot:
    """Blobs and layers by their names alone."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.layers = self

    def has(self, name: str) -> bool:
        return name in self.there

    def find(self, diff_ids: Sequence[str]) -> list[str | None]:
        names = [
            (chain_name(chain), diff_name(diff)) for diff, chain in zip(diff_ids, chain_ids(diff_ids), strict=True)
        ]
        return [next((name for name in candidates if name in self.there), None) for candidates in names]

    def add(self, made: LayerRecord) -> None:
        self.there |= {made.blob, diff_name(made.diff_id)}


class FakeImages:
    """The images of one engine, as far as the solver asks for them. `keep` names what is not collected."""

    def __init__(self) -> None:
        self.depot: Any = FakeDepot()
        self.records: dict[str, ImageRecord] = {}
        self.documents: dict[str, dict[str, Any]] = {}
        self.syncs = 0
        self.keep: Any = tuple
        self._leases = Leases(self.collect)

    def lease(self) -> Lease:
        return self._leases.open()

    def collect(self, names: frozenset[str]) -> None:
        for name in names:
            if name not in self.keep() and not self._leases.held(name):
                self.depot.there.discard(name)

    def sync(self) -> None:
        self.syncs += 1

    def add(self, name: str, *layers: LayerRecord, document: dict[str, Any] | None = None) -> None:
        self.records[name] = ImageRecord(id=name, layers=layers)
        self.documents[name] = document or {}
        for made in layers:
            self.depot.add(made)

    def get(self, image_id: str) -> ImageRecord:
        return self.resolve(image_id)

    def resolve(self, text: str) -> ImageRecord:
        if text not in self.records:
            raise NotFound(f"No such image: {text}")
        return self.records[text]

    def config(self, record: ImageRecord) -> dict[str, Any]:
        return self.documents[record.id]


class FakeWorker:
    """Makes a layer of what a command says, or of what is copied; `files` are the contexts' by name and path.

    A command ``fail N`` fails; one that begins with ``wait`` waits for `gate`. `ran` are the commands that were begun.
    """

    def __init__(self, images: FakeImages, files: Mapping[str, str] | None = None) -> None:
        self.images = images
        self.contents = dict(files or {})
        self.gate = asyncio.Event()
        self.users = ""
        self.refusal: Exception | None = None
        self._more = asyncio.Event()
        self.ran: list[str] = []
        self.cancelled: list[str] = []
        self.selected = 0
        self.at_once = 0
        self.most_at_once = 0

    async def begun(self, *scripts: str) -> None:
        """Wait until all of these were begun ("copy" for files)."""
        while not set(scripts) <= set(self.ran):
            self._more.clear()
            await self._more.wait()

    async def select(self, action: CopyFiles, nodes: Mapping[int, FileSystem], sink: Sink) -> Selected:
        if self.refusal is not None:
            raise self.refusal
        self.selected += 1
        files = tuple(sorted(self.contents.items()))
        return Selected(digest(repr((action.paths, files, sorted(nodes.items())))), files, hashed=len(files))

    async def owner_files(self, base: FileSystem) -> str:
        return digest(f"users {self.users}")

    async def files(self, job: FilesJob, lease: Lease, sink: Sink) -> Made:
        self._begin("copy")
        return self._made(f"copy {sorted(self.contents.items())} {job.node.actions} {sorted(job.nodes.items())}", lease)

    async def execute(self, job: ExecJob, lease: Lease, sink: Sink) -> Made:
        script = job.node.arguments[-1]
        self._begin(script)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        sink.container("c" * 64)
        sink.output(1, f"{script}\n".encode())
        try:
            if script.startswith("wait"):
                await self.gate.wait()
            else:
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(script)
            raise
        finally:
            self.at_once -= 1
        if script.startswith("fail"):
            raise ExecFailed(int(script.split()[1]))
        return self._made(script if script.startswith("same") else f"{script} on {job.base}", lease)

    def fixed(self, source: Input) -> bool:
        return isinstance(source, Git)

    def _begin(self, script: str) -> None:
        self.ran.append(script)
        self._more.set()

    def _made(self, text: str, lease: Lease) -> Made:
        made = layer(text)
        lease.hold(made.blob)
        lease.hold(diff_name(made.diff_id))
        self.images.depot.add(made)
        return Made(made, 1.5)


class SolverLab:
    """A solver on a store of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images: Any = FakeImages()
        self.worker = FakeWorker(self.images)
        self.told: list[Progress] = []

    async def open(self, **options: Any) -> SolverLab:
        self.store = await Store.open(self.root / "orlop.db")
        self.scratch = ScratchDirectory(self.root / "tmp")
        self.cache = await Cache.open(self.store)
        self.images.keep = self.cache.names
        await self.cache.sift(self.images)
        self.last_builds = LastBuilds(self.root / "lists", self.store, self.scratch)
        self.solver = Solver(self.cache, self.images, self.last_builds, **options)
        return self

    async def close(self) -> None:
        await self.store.close()
        self.scratch.close()

    async def solve(self, graph: Graph, worker: FakeWorker | None = None, **fields: Any) -> Solved:
        """Solve; what was told is in `told`."""
        told: list[Progress] = []
        self.told = told
        lease = self.images.lease()
        try:
            request = BuildRequest(dockerfile="", origin="/src", **fields)
            return await self.solver.solve(graph, request, worker or self.worker, told.append, lease)
        finally:
            lease.release()

    def ended(self, told: list[Progress] | None = None) -> dict[int, Ended]:
        """Return the ends of the steps by the places of their nodes; each began and ended once."""
        told = self.told if told is None else told
        ends = [record for record in told if isinstance(record, Ended)]
        began = [record.vertex for record in told if isinstance(record, Began)]
        assert sorted(began) == sorted(record.vertex for record in ends)
        return {int(record.vertex.removeprefix("step-")) - 1: record for record in ends}

    def output(self, told: list[Progress] | None = None) -> bytes:
        return b"".join(record.data for record in (told or self.told) if isinstance(record, Output))
