"""The build cache on a disk: what it keeps stays, what is pruned frees exactly what nothing else needs."""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from orlop.build.cache import Cache
from orlop.build.files.store import ContextStore
from orlop.build.graph import BaseImage, CopyFiles, Graph, Input, Node, Scratch
from orlop.build.last_builds import LastBuilds
from orlop.build.policy import BuilderGC, GCRule
from orlop.build.progress import Ended, Progress, Report
from orlop.build.request import BuildRequest
from orlop.build.solver import Solved, Solver
from orlop.build.worker import ExecJob, FilesJob, FileSystem, Made, Selected, Sink
from orlop.engine.builds.cache_mounts import CacheMounts
from orlop.engine.builds.prune import collect, prune
from orlop.engine.builds.usage import cache_usage, items_of
from orlop.engine.images.remove import take_away
from orlop.engine.system.check import check
from orlop.engine.system.usage import usage
from orlop.formats.filters import Filters
from orlop.formats.identity import chain_ids
from orlop.formats.platform import Platform
from orlop.image.assembly import Assembly
from orlop.image.compression import Compression
from orlop.image.images import Images
from orlop.image.intake import LayerIntake, TakenLayer
from orlop.image.leases import Lease
from orlop.image.unpack import Limits
from orlop.model.record import ImageRecord
from orlop.store.store import Store
from support.archives import Image, Lab, docker_archive, layer, member, tree
from support.fake_builds import command, graph

pytestmark = pytest.mark.root

Json = dict[str, Any]

BASE = tree({"etc/passwd": b"root:x:0:0"})
LAYERS = {
    "one": tree({"one": os.urandom(300_000)}),
    "two": tree({"two": os.urandom(200_000)}),
    "leaning": layer(member("etc/more", b"m" * 50_000)),  # says nothing of etc: it is unpacked on what lies below
    **{f"many {number}": tree({f"many/{number}": b"m" * 10_000}) for number in range(20)},
}
MANY = [f"many {number}" for number in range(20)]


class RealWorker:
    """Makes the layers of `LAYERS`."""

    def __init__(self, images: Images) -> None:
        self.images = images
        self.ran: list[str] = []

    async def select(self, action: CopyFiles, nodes: Mapping[int, FileSystem], sink: Sink) -> Selected:
        raise AssertionError("nothing is copied")

    async def owner_files(self, base: FileSystem) -> str:
        return ""

    async def files(self, job: FilesJob, lease: Lease, sink: Sink) -> Made:
        raise AssertionError("nothing is copied")

    async def execute(self, job: ExecJob, lease: Lease, sink: Sink) -> Made:
        script = job.node.arguments[-1]
        self.ran.append(script)
        return await asyncio.to_thread(self._made, LAYERS[script], job.base, lease)

    def fixed(self, source: Input) -> bool:
        return False

    def _made(self, data: bytes, base: FileSystem, lease: Lease) -> Made:
        depot = self.images.depot
        intake = LayerIntake(depot, lease, Compression.NONE, None, Limits())
        intake.feed(data)
        intake.finish()
        taken = intake.result()
        assembly = Assembly(depot, lease, Limits())
        diff_ids = [*(below.diff_id for below in base), taken.record.diff_id]
        placed = assembly.place(diff_ids, [*(TakenLayer(below) for below in base), taken])
        assembly.finish()
        intake.abandon()
        return Made(placed[-1], 1.0)


class BuildLab:
    """A store with one image, and a solver on it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.root = lab.root

    @classmethod
    async def open(cls, root: Path) -> BuildLab:
        opened = cls(Lab(root, *await cls._parts(root)))
        opened._compose()
        return opened

    @staticmethod
    async def _parts(root: Path) -> tuple[Store, Images]:
        store = await Store.open(root / "orlop.db")
        BuildLab.cache = await Cache.open(store)
        images = await Images.open(root, store, keep=BuildLab.cache.names)
        await BuildLab.cache.sift(images)
        return store, images

    cache: Cache

    def _compose(self) -> None:
        engine = self.engine = self.lab.engine
        engine.build_cache = self.cache
        engine.checking = asyncio.Lock()
        engine.config = SimpleNamespace(data_root=self.root, builder_gc=BuilderGC())
        engine.volumes = SimpleNamespace(list=list)
        mounts = CacheMounts(self.root / "build/mounts", self.lab.images.scratch)
        store = ContextStore(self.root / "build/context", self.lab.images.scratch)
        engine.builds = SimpleNamespace(mounts=mounts, contexts=SimpleNamespace(store=store))
        engine.snapshots = SimpleNamespace(strays=lambda known: [], claimed=set)
        self.images = self.lab.images
        self.worker = RealWorker(self.images)
        last_builds = LastBuilds(self.root / "lists", self.lab.store, self.images.scratch)
        self.solver = Solver(self.cache, self.images, last_builds)

    async def reopen(self) -> None:
        """Do as a daemon that was killed and is started again."""
        await self.images.close()
        await self.lab.store.close()
        self.lab.store, self.lab.images = await self._parts(self.root)
        self.lab.engine.store, self.lab.engine.images = self.lab.store, self.lab.images
        self._compose()

    async def build(self, *scripts: str, base: bool = False, name: str = "", report: Report = lambda _: None) -> Solved:
        """Solve a chain of commands, and name the image of it if it is to have a `name`."""
        nodes: list[Node] = [self._base() if base else Scratch()]
        nodes += [command(index, script) for index, script in enumerate(scripts)]
        tree: Graph = graph(*nodes)
        lease = self.images.lease()
        try:
            solved = await self.solver.solve(tree, BuildRequest(dockerfile=""), self.worker, report, lease)
            if name:
                digest = str(self.images.content.put(json.dumps({"author": name}).encode()))
                await self.images.add([(ImageRecord(id=digest, layers=solved.file_system), [])])
            return solved
        finally:
            lease.release()

    def _base(self) -> BaseImage:
        record = self.images.resolve("base:1")
        diff_ids = tuple(made.diff_id for made in record.layers)
        return BaseImage(diff_ids, "base", record.id, Platform("linux", "amd64"))

    def on_disk(self) -> set[str]:
        self.lab.settle()
        return self.lab.on_disk()

    async def check(self, *, repair: bool = False) -> list[Json]:
        return [message["Problem"] async for message in check(self.engine, repair=repair) if "Problem" in message]


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[BuildLab]:
    lab = await BuildLab.open(tmp_path)
    await lab.lab.load(docker_archive(Image([BASE], ["base:1"])))
    yield lab
    await lab.lab.close()


async def pruned(lab: BuildLab, **options: Any) -> tuple[int, int]:
    """Return how many parts went and how many bytes that freed."""
    answer = await prune(lab.engine, Filters(), **options)
    return len(answer["CachesDeleted"] or ()), answer["SpaceReclaimed"]


async def test_layers_stay_without_an_image_and_over_a_restart(lab: BuildLab) -> None:
    before = lab.on_disk()
    await lab.build("one", "leaning", base=True)
    kept = lab.on_disk()
    assert len(kept - before) == 4  # two blobs and two layers
    await lab.reopen()
    assert lab.on_disk() == kept
    await lab.build("one", "leaning", base=True)
    assert lab.worker.ran == []


async def test_a_prune_frees_what_only_the_cache_had_and_says_how_much(lab: BuildLab) -> None:
    before = lab.on_disk()
    await lab.build("one", "leaning", base=True)
    sizes = sum(item.size for item in await items_of(lab.engine))
    assert sizes > 300_000
    assert await pruned(lab) == (2, sizes)
    assert lab.on_disk() == before
    assert lab.lab.events[-1] == ("prune", "", {"reclaimed": str(sizes)})
    assert await pruned(lab) == (0, 0)


async def test_what_an_image_has_is_shared_and_goes_with_neither_alone(lab: BuildLab) -> None:
    solved = await lab.build("one", "two", name="image")
    (image,) = [record.id for record in lab.images if record.layers == solved.file_system]
    rows = await cache_usage(lab.engine)
    assert [row["Shared"] for row in rows] == [True, True]
    assert await pruned(lab) == (0, 0)
    everything = lab.on_disk()
    assert await pruned(lab, all=True) == (2, 0)
    assert lab.on_disk() == everything
    await lab.build("one", "two")
    await lab.images.delete(image)
    assert lab.on_disk() == everything - {image.removeprefix("sha256:")}
    assert [row["Shared"] for row in await cache_usage(lab.engine)] == [False, False]
    assert (await pruned(lab))[0] == 2


async def test_removing_an_image_tells_of_the_layers_that_go(lab: BuildLab) -> None:
    await lab.build("one", "two", name="image")
    await lab.cache.drop([record.key for record in lab.cache if record.base])
    (image,) = [record for record in lab.images if len(record.layers) == 2]
    removed = [row["Deleted"] for row in await take_away(lab.engine, image.id) if "Deleted" in row]
    assert removed == [image.id, chain_ids(layer.diff_id for layer in image.layers)[-1]]


async def test_a_layer_of_two_steps_is_told_once_and_goes_with_the_last(lab: BuildLab) -> None:
    before = lab.on_disk()
    await lab.build("one", "two")
    await lab.build("two")
    one, first, second = sorted(await items_of(lab.engine), key=lambda item: item.created_at)
    assert (one.shared, first.shared, second.shared) == (False, False, True)
    assert second.size == 0
    answer = await prune(lab.engine, Filters.of(id=first.id))
    assert (answer["CachesDeleted"], answer["SpaceReclaimed"]) == ([first.id], 0)
    assert await pruned(lab) == (2, one.size + first.size)
    assert lab.on_disk() == before


async def test_rows_say_what_docker_shows(lab: BuildLab) -> None:
    await lab.build("one", "two")
    await lab.build("one", "two")
    child, parent = await cache_usage(lab.engine)
    assert child["Parents"] == [parent["ID"]]
    assert "Parents" not in parent
    assert (child["Type"], child["Description"], child["InUse"]) == ("regular", "step 2", False)
    assert child["UsageCount"] == 2
    assert child["CreatedAt"] < child["LastUsedAt"]


async def test_disk_usage_counts_what_only_the_cache_has_for_the_cache(lab: BuildLab) -> None:
    before = (await usage(lab.engine, ["image"]))["LayersSize"]
    await lab.build("one", base=True)
    found = await usage(lab.engine, ["image", "build-cache"])
    assert found["LayersSize"] == before
    assert sum(row["Size"] for row in found["BuildCache"]) > 300_000
    await lab.build("one", base=True, name="image")
    assert (await usage(lab.engine, ["image"]))["LayersSize"] > before + 300_000


async def test_the_cache_is_collected_by_the_rules_of_the_configuration(lab: BuildLab) -> None:
    await lab.build("one")
    await lab.build("two")
    lab.engine.config.builder_gc = BuilderGC(policy=(GCRule(filters=Filters.of(until="1h")),))
    await collect(lab.engine)
    assert len(lab.cache) == 2
    lab.engine.config.builder_gc = BuilderGC(policy=(GCRule(reserved=500_000),))
    await collect(lab.engine)
    (left,) = lab.cache
    assert left.layer.tar_size < 300_000  # the one that was used last
    lab.engine.config.builder_gc = BuilderGC(enabled=False, policy=(GCRule(all=True),))
    await collect(lab.engine)
    assert len(lab.cache) == 1


async def test_contexts_and_cache_mounts_are_parts_of_the_cache(lab: BuildLab) -> None:
    builds = lab.engine.builds
    taken = builds.contexts.store.take_tar(io.BytesIO(tree({"a": b"a" * 9000, "b/c": b"c"})).read)
    held = builds.contexts.store.hold(taken.manifest)
    async with builds.mounts.entered("k" * 64, "pip", "shared", lambda place: None) as place:
        (place / "wheel").write_bytes(b"w" * 9000)
        (mount,) = await cache_usage(lab.engine)
        assert (mount["Type"], mount["Description"], mount["InUse"]) == ("exec.cachemount", "cached mount pip", True)
        assert await pruned(lab, all=True) == (0, 0)
    held.release()
    rows = {row["Type"]: row for row in await cache_usage(lab.engine)}
    assert rows["source.local"]["Description"] == "local source: 2 files"
    assert {len(row["ID"]) for row in rows.values()} == {25}
    assert await pruned(lab) == (2, sum(row["Size"] for row in rows.values()))
    assert builds.contexts.store.missing(taken.manifest) == sorted(taken.manifest.digests)
    assert await cache_usage(lab.engine) == []


async def test_a_blob_that_is_exchanged_for_a_push_is_exchanged_in_the_cache(lab: BuildLab) -> None:
    await lab.build("one")
    (record,) = lab.cache
    lease = lab.images.lease()
    digest = lab.images.content.put(b"compressed otherwise")
    lease.hold(str(digest))
    await lab.cache.exchange_blob(record.layer, msgspec.structs.replace(record.layer, blob=str(digest)))
    lease.hold(record.layer.blob)
    lease.release()
    assert digest.hex in lab.on_disk()
    assert record.layer.blob.removeprefix("sha256:") not in lab.on_disk()
    await lab.reopen()
    assert [record.layer.blob for record in lab.cache] == [str(digest)]


@pytest.mark.parametrize("part", ["layer", "missing layer", "blob", "missing blob"])
async def test_a_check_finds_damage_that_only_builds_would_meet_and_drops_it(lab: BuildLab, part: str) -> None:
    await lab.build("one", "leaning", base=True)
    assert await lab.check() == []
    record = next(record for record in lab.cache if record.layer.unpacked_size < 100_000)
    directory = lab.root / "layers" / next(iter(n for n in os.listdir(lab.root / "layers") if n.startswith("chain-")))
    blob = lab.root / "content" / record.layer.blob.replace(":", "/")
    match part:
        case "layer":
            (directory / "etc/more").write_bytes(b"x")
        case "missing layer":
            lab.images.layers.remove(directory.name)
        case "blob":
            blob.write_bytes(b"x")
        case "missing blob":
            blob.unlink()
    (problem,) = await lab.check()
    assert (problem["Kind"], problem["Name"], problem["Remedy"]) == ("build step", "step 2", "repair")
    (problem,) = await lab.check(repair=True)
    assert problem["Mended"] == "dropped from the build cache"
    assert await lab.check() == []
    await lab.build("one", "leaning", base=True)
    assert lab.worker.ran == ["one", "leaning", "leaning"]
    assert await lab.check() == []


@pytest.mark.parametrize("seed", range(8))
async def test_a_kill_at_any_moment_loses_no_finished_step_and_leaves_no_rubbish(tmp_path: Path, seed: int) -> None:
    lab = await BuildLab.open(tmp_path)
    await lab.lab.load(docker_archive(Image([BASE], ["base:1"])))
    await lab.lab.close()
    finished = await asyncio.to_thread(_killed, tmp_path, random.Random(seed))
    lab = await BuildLab.open(tmp_path)
    try:
        assert await lab.check() == []
        solved = await lab.build(*MANY, base=True)
        assert len(solved.file_system) == len(MANY) + 1
        assert set(finished) <= set(MANY)
        assert not set(finished) & set(lab.worker.ran)
        assert await lab.check() == []
    finally:
        await lab.lab.close()


def _killed(root: Path, moment: random.Random) -> list[str]:
    """Begin to build all of `MANY` in another process and kill it; return the steps of which it told the end."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, __file__, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        finished = [child.stdout.readline().strip() for _ in range(moment.randrange(1, len(MANY)))]
        time.sleep(moment.random() / 50)
        child.kill()
        return finished + child.communicate()[0].splitlines()


async def _build_many(root: Path) -> None:
    """Build all of `MANY`, and print each step when it is told that it ended."""
    lab = await BuildLab.open(root)

    def report(record: Progress) -> None:
        if isinstance(record, Ended):
            print(MANY[int(record.vertex.removeprefix("step-")) - 2], flush=True)

    await lab.build(*MANY, base=True, report=report)


if __name__ == "__main__":
    asyncio.run(_build_many(Path(sys.argv[1])))
