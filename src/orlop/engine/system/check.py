"""`POST /orlop/system/check`: verify the store and, if asked, mend what can be mended, while all else goes on.

Everything slow runs in a thread, one piece at a time, under a lease that keeps it from being collected meanwhile. A
directory takes another's place on the event loop, in one step, and only if no container runs on it. A damaged blob
that cannot be made again is removed, so that the next pull or load of the image brings it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orlop.build.cache import names_of_step
from orlop.build.check import check_step
from orlop.engine.uncut import uncut
from orlop.errors import Conflict, Error, NotFound
from orlop.formats.digest import Digest
from orlop.formats.identity import short_id
from orlop.image.check.blobs import PULL_AGAIN, check_blob
from orlop.image.check.layers import Checked, Placed, check_layer, missing, placed, restore
from orlop.image.check.problem import Problem
from orlop.image.check.rebuild import rebuild_blob
from orlop.image.check.records import check_record
from orlop.image.collect import names_of
from orlop.image.partials import DIRECTORY
from orlop.image.usage import allocated
from orlop.model.record import BuildStepRecord, ImageRecord
from orlop.store.integrity import damage

if TYPE_CHECKING:
    from orlop.engine.containers.registry import Container
    from orlop.engine.engine import Engine

__all__ = ["check"]

Json = dict[str, Any]


async def check(engine: Engine, *, repair: bool = False) -> AsyncGenerator[Json, None]:
    """Verify every digest, layer and reference; yield how it goes on, each problem, and a summary at the end.

    The messages are ``{"Progress": {"Step", "Done", "Total"}}``, ``{"Problem": {"Kind", "Name", "Message", "Details",
    "Images", "Mended", "Remedy"}}`` and ``{"Summary": {…}}``. Raises `Conflict` while another check runs.
    """
    if engine.checking.locked():
        raise Conflict("the store is being checked already")
    async with engine.checking:
        checking = _Check(engine, repair)
        for step in (
            checking.database,
            checking.images,
            checking.blobs,
            checking.layers,
            checking.steps,
            checking.containers,
            checking.volumes,
            checking.strays,
        ):
            async with aclosing(step()) as messages:
                async for message in messages:
                    yield message
        yield {"Summary": checking.summary}


class _Check:
    def __init__(self, engine: Engine, repair: bool) -> None:
        self.engine = engine
        self.depot = engine.images.depot
        self.repair = repair
        self.bad: set[str] = set()  # blobs and layers that are missing or damaged
        self.summary = dict.fromkeys(
            ("Images", "Blobs", "Layers", "Containers", "Volumes", "Bytes", "Problems", "Mended"), 0
        )

    # Each step yields messages.

    async def database(self) -> AsyncGenerator[Json, None]:
        for line in await self.engine.store.read(damage):
            yield self.told(Problem("database", "orlop.db", line, remedy="restore it from a back-up"))
        names = await self.engine.images.loose_names()
        if names and self.repair:
            await self.engine.images.drop_names(names)
        for name in names:
            yield self.told(Problem("name", name, "points to no image"), "forgotten" if self.repair else "")

    async def images(self) -> AsyncGenerator[Json, None]:
        for record in self.engine.images.records():
            self.summary["Images"] += 1
            for problem in await asyncio.to_thread(check_record, self.depot.content, record):
                yield self.told(problem)

    async def blobs(self) -> AsyncGenerator[Json, None]:
        names = sorted(name for name in self.users() if ":" in name)
        for done, name in enumerate(names):
            yield _progress("blobs", done, len(names))
            self.summary["Blobs"] += 1
            self.summary["Bytes"] += allocated(self.depot, name)
            async with self.leased(name):
                problem = await uncut(partial(check_blob, self.depot.content, Digest.parse(name)))
                if problem is not None and name in self.users():
                    self.bad.add(name)
                    yield await self.damaged_blob(name, problem)

    async def layers(self) -> AsyncGenerator[Json, None]:
        for record in self.engine.images.records():
            for lost in missing(self.depot.layers, record):
                problem = Problem("layer", lost.diff_id, "is missing", remedy=PULL_AGAIN)
                yield self.told(problem, await self.restore(record) if self.repair else "")
        layers = placed(self.depot.layers, self.engine.images.records())
        for done, layer in enumerate(layers.values()):
            yield _progress("layers", done, len(layers))
            self.summary["Layers"] += 1
            self.summary["Bytes"] += allocated(self.depot, layer.name)
            if not self.bad.isdisjoint((layer.record.blob, *layer.below)):
                continue  # there is nothing to compare it with, or nothing to unpack it on
            async with self.leased(layer.record.blob, layer.name, *layer.below):
                if layer.name not in self.users():
                    continue  # its images went meanwhile
                checked = await uncut(partial(check_layer, self.depot, layer), self.dropped)
                if checked.problem is not None:
                    yield await self.damaged_layer(layer, checked.problem, checked.fresh)

    async def steps(self) -> AsyncGenerator[Json, None]:
        """Look at what only the build cache keeps; what is damaged is dropped, and made anew by the next build."""
        cache = self.engine.build_cache
        for done, record in enumerate(records := list(cache)):
            yield _progress("build steps", done, len(records))
            async with self.leased(*names_of_step(record)):
                if cache.find(record.key) is None:
                    continue  # it was pruned meanwhile
                work = partial(check_step, self.depot, record, self.users().keys(), frozenset(self.bad))
                problem = await uncut(work)
                if problem is not None:
                    yield await self.damaged_step(record, problem)

    async def containers(self) -> AsyncGenerator[Json, None]:
        for container in self.engine.containers:
            self.summary["Containers"] += 1
            for message in self.container(container):
                yield self.told(Problem("container", container.id, message, remedy="remove it and create it anew"))

    async def volumes(self) -> AsyncGenerator[Json, None]:
        for record in self.engine.volumes.list():
            self.summary["Volumes"] += 1
            if not await asyncio.to_thread(Path(self.engine.volumes.path(record)).is_dir):
                yield self.told(Problem("volume", record.name, "its directory is missing", remedy="remove the volume"))

    async def strays(self) -> AsyncGenerator[Json, None]:
        images = self.engine.images
        unnamed = await images.unnamed()
        known = {container.id for container in self.engine.containers}
        paths = [
            *images.content.strays(),
            *images.layers.strays(),
            *images.scratch.strays((DIRECTORY,)),
            *self.engine.snapshots.strays(known),
        ]
        if self.repair:
            await asyncio.to_thread(images.collect_garbage)
            for path in paths:
                images.scratch.discard(path)
            await asyncio.to_thread(images.scratch.settle)
        mended = "removed" if self.repair else ""
        for name in unnamed:
            kind = "blob" if ":" in name else "layer"
            yield self.told(Problem(kind, name, "no image needs it"), mended)
        for path in paths:
            yield self.told(Problem("file", str(path), "belongs to nothing"), mended)

    # Mending

    async def damaged_blob(self, name: str, problem: Problem) -> Json:
        """Tell of a blob; make it again of the layer's directory, or remove it, so that it can come once more."""
        if not self.repair:
            return self.told(problem)
        for record in self.users()[name]:
            if await uncut(partial(rebuild_blob, self.depot, record, name)):
                self.bad.discard(name)
                return self.told(problem, "made again of the layer's directory")
        self.depot.scratch.discard(self.depot.content.path(Digest.parse(name)))
        return self.told(problem)

    async def restore(self, record: ImageRecord) -> str:
        """Unpack an image's missing layers; say how they were mended, or nothing."""
        lease = self.engine.images.lease()
        try:
            await uncut(partial(restore, self.depot, lease, record))
        except (Error, OSError):
            return ""  # its blob is missing or damaged too, which is told of as such
        finally:
            await asyncio.to_thread(lease.release)
        return "unpacked again from its blob"

    def dropped(self, checked: Checked) -> None:
        """Give up what nobody waits for any more."""
        if checked.fresh is not None:
            self.depot.scratch.discard(checked.fresh)

    async def damaged_layer(self, layer: Placed, problem: Problem, fresh: Path | None) -> Json:
        """Tell of a damaged layer; put `fresh` in its place, if there is one, unless the old one is in use."""
        self.bad.add(layer.name)
        if fresh is None:
            return self.told(problem)
        if not self.repair:
            self.depot.scratch.discard(fresh)
            return self.told(replace(problem, remedy="repair"))
        user = self.user(layer.name)
        if user:
            self.depot.scratch.discard(fresh)
            return self.told(replace(problem, remedy=f"{user} is using it: stop that, and repair then"))
        self.depot.layers.replace(fresh, layer.name)
        self.bad.discard(layer.name)
        await asyncio.to_thread(self.depot.layers.sync_names)
        return self.told(problem, "unpacked again from its blob")

    async def damaged_step(self, record: BuildStepRecord, problem: Problem) -> Json:
        if not self.repair:
            return self.told(problem)
        await self.engine.build_cache.drop([record.key])  # what it kept goes with the lease that holds it now
        return self.told(problem, "dropped from the build cache")

    # Asking the engine

    def users(self) -> dict[str, list[ImageRecord]]:
        """Return every blob and layer that images name, with these."""
        users: dict[str, list[ImageRecord]] = {}
        for record in self.engine.images.records():
            for name in names_of(record, self.depot.layers):
                users.setdefault(name, []).append(record)
        return users

    def user(self, layer: str) -> str:
        """Return who reads the directory of a layer now, "" for nobody."""
        claimed = self.engine.snapshots.claimed()
        for container in self.engine.containers:
            if (container.running or container.state.starting or container.id in claimed) and layer in self.below(
                container.id
            ):
                return f"container {short_id(container.id)}"
        return "another operation" if self.depot.leases.holders(layer) > 1 else ""

    def below(self, container_id: str) -> tuple[str, ...]:
        try:
            return self.engine.snapshots.stands_on(container_id)
        except Error:
            return ()

    def container(self, container: Container) -> Iterator[str]:
        """Yield what is wrong with what a container stands on."""
        try:
            self.engine.images.get(container.record.image_id)
        except NotFound:
            yield f"its image {short_id(container.record.image_id)} is gone"
        try:
            for name in self.engine.snapshots.stands_on(container.id):
                if not self.depot.layers.has(name):
                    yield f"layer {name} that it stands on is gone"
        except Error as error:
            yield error.message

    @asynccontextmanager
    async def leased(self, *names: str) -> AsyncIterator[None]:
        """Keep blobs and layers from being collected."""
        lease = self.engine.images.lease()
        for name in names:
            lease.hold(name)
        try:
            yield
        finally:
            await asyncio.to_thread(lease.release)

    def told(self, problem: Problem, mended: str = "") -> Json:
        """Count a problem and return its message."""
        self.summary["Problems"] += 1
        self.summary["Mended"] += bool(mended)
        images = self.users().get(problem.name, []) or [
            record
            for record in self.engine.images.records()
            if problem.name in (layer.diff_id for layer in record.layers)
        ]
        return {
            "Problem": {
                "Kind": problem.kind,
                "Name": problem.name,
                "Message": problem.message,
                "Details": list(problem.details),
                "Images": [name for record in images for name in self.shown(record)],
                "Mended": mended,
                "Remedy": "" if mended else problem.remedy,
            }
        }

    def shown(self, record: ImageRecord) -> list[str]:
        return self.engine.images.names(record.id) or [short_id(record.id)]


def _progress(step: str, done: int, total: int) -> Json:
    return {"Progress": {"Step": step, "Done": done, "Total": total}}
