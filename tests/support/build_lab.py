"""An engine in this process for tests of what builds do below the API: in a thread that has a network of its own.

A socket belongs to the namespace of the thread that made it, and threads and processes are made in that of their
maker: so a whole engine, with its launcher, is where the thread is that opened it.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

from backports import zstd

from orlop.build.graph import Context, Exec
from orlop.build.layer import write_layer
from orlop.build.request import Limits
from orlop.build.worker import ExecJob, FileSystem, Made
from orlop.engine.builds.cache_mounts import CacheMounts
from orlop.engine.builds.execute import Executor
from orlop.engine.builds.kept import Kept
from orlop.engine.config import EngineConfig
from orlop.engine.engine import Engine
from orlop.engine.images.load import load
from orlop.errors import NotFound
from orlop.formats.digest import Digest
from orlop.formats.tar.entry import Entry
from orlop.formats.tar.output import TarOutput, Write
from orlop.image.leases import Lease
from orlop.linux.namespace import CLONE_NEWNET, setns
from orlop.model.record import LayerRecord
from support.netns import NetworkNamespace, network_namespace

__all__ = ["Lab", "RecordingSink", "build_lab", "cgroup_directories", "remove_cgroups"]

T = TypeVar("T")

ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)


class RecordingSink:
    """Keeps what a job tells."""

    def __init__(self) -> None:
        self.written: list[tuple[int, bytes]] = []
        self.containers: list[str] = []
        self.heard = asyncio.Event()

    def output(self, stream: int, data: bytes) -> None:
        self.written.append((stream, data))
        self.heard.set()

    def container(self, container_id: str) -> None:
        self.containers.append(container_id)

    def transfer(self, id: str, current: int, total: int, *, done: bool = False) -> None:
        raise AssertionError(f"{id}: a command transfers nothing")

    def text(self, stream: int = 1) -> str:
        return b"".join(data for number, data in self.written if number == stream).decode()


class Contexts:
    """Contexts by their names: directories below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def materialize(self, context: Context, path: str) -> Path:
        found = self.root / (context.name or "context") / path.strip("/")
        if not found.exists():
            raise NotFound(f'"{path}": not found')
        return found


class Lab:
    """An engine with one image, busybox, and an executor; `do` has a coroutine run where the engine is."""

    engine: Engine
    executor: Executor
    base: FileSystem
    lease: Lease

    def __init__(self, root: Path, netns: NetworkNamespace) -> None:
        self.root = root
        self.netns = netns
        self.loop = asyncio.new_event_loop()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end on the engine's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(120)

    async def open(self, archive: Path, config: EngineConfig) -> None:
        self.engine = await Engine.open(config)
        async for _ in load(self.engine, _blocks(archive)):
            pass
        self.base = next(iter(self.engine.images)).layers
        self.lease = self.engine.images.lease()
        self.caches = CacheMounts(self.root / "data/build/mounts", self.engine.images.scratch)
        self.kept = Kept(self.engine, self.caches)
        self.contexts = Contexts(self.root)
        self.executor = Executor(self.engine, self.contexts, Limits(), self.caches, self.kept)

    async def close(self) -> None:
        await self.kept.close()
        await self.executor.settled()
        await asyncio.to_thread(self.lease.release)
        await self.engine.close()

    async def run(self, script: str, base: FileSystem | None = None, **fields: Any) -> tuple[Made, RecordingSink]:
        """Run a shell script as a step; return what came of it and what it told."""
        sink = RecordingSink()
        return await self.execute(self.step(script, **fields), base, sink), sink

    async def execute(self, node: Exec, base: FileSystem | None, sink: RecordingSink, **fields: Any) -> Made:
        """Run a step."""
        executor: Executor = fields.pop("executor", self.executor)
        job = ExecJob(node, self.base if base is None else base, fields.pop("nodes", {}), **fields)
        return await executor.execute(job, self.lease, sink)

    def step(self, script: str, **fields: Any) -> Exec:
        """Return the node of a shell script."""
        return Exec(0, ("/bin/sh", "-c", script), **{"environment": ENVIRONMENT, "directory": "/", **fields})

    def layer(self, *entries: Entry) -> LayerRecord:
        """Make a layer of entries that no command could make, on the image."""

        def feed(write: Write) -> None:
            output = TarOutput(write)
            for entry in entries:
                output.add(entry)
            output.finish()

        return write_layer(self.engine.images.depot, self.lease, self.base, feed, lambda: None)

    def entries(self, layer: LayerRecord) -> dict[str, tarfile.TarInfo]:
        """Return what is in the tar of a layer, by name."""
        with self.engine.images.content.open(Digest.parse(layer.blob)) as blob:
            data = zstd.decompress(blob.read())
        assert Digest.of(data) == Digest.parse(layer.diff_id)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return {entry.name: entry for entry in archive}

    def left(self) -> dict[str, list[str]]:
        """Return what steps may leave behind and should not."""
        parents = cgroup_directories(self.engine.instance)
        links = json.loads(self.netns.run("ip", "-j", "link").stdout)
        return {
            "containers": sorted(os.listdir(self.root / "data/containers")),
            "run directories": sorted(os.listdir(self.root / "run/c")),
            "cgroups": sorted({child.name for parent in parents for child in parent.iterdir() if child.is_dir()}),
            "links": [link["ifname"] for link in links if link["ifname"] not in ("lo", "orlop0")],
            "mounts": [
                line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.root) in line
            ],
            "guests": list(self.engine.supervisor.guests),
        }

    def settle(self) -> None:
        """Wait until nothing of a step is left. Fails when something stays."""
        self.do(self.executor.settled())
        deadline = time.monotonic() + 10
        while any(self.left().values()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(self.left().values()), self.left()


@contextmanager
def build_lab(
    archive: Path, *, root: Path | None = None, netns: NetworkNamespace | None = None, **config: Any
) -> Iterator[Lab]:
    """Open an engine with the image of `archive`; close it, and leave nothing of it but what was given."""
    with ExitStack() as stack:
        netns = netns or stack.enter_context(network_namespace())
        root = root or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orlop-build-")))
        lab = Lab(root, netns)
        thread = threading.Thread(target=lambda: _serve(lab), name="build-lab")
        thread.start()
        try:
            lab.do(lab.open(archive, EngineConfig(data_root=root / "data", exec_root=root / "run", **config)))
            yield lab
        finally:
            lab.do(lab.close())
            lab.loop.call_soon_threadsafe(lab.loop.stop)
            thread.join()
            remove_cgroups(lab.engine.instance)


def _serve(lab: Lab) -> None:
    fd = os.open(lab.netns.path, os.O_RDONLY | os.O_CLOEXEC)
    setns(fd, CLONE_NEWNET)
    os.close(fd)
    asyncio.set_event_loop(lab.loop)
    lab.loop.run_forever()
    lab.loop.run_until_complete(lab.loop.shutdown_default_executor())
    lab.loop.close()


def cgroup_directories(instance: str) -> list[Path]:
    """Return the directories, one a hierarchy, that hold the cgroups of an instance."""
    root = Path("/sys/fs/cgroup")
    return [*root.glob(f"orlop-{instance}"), *root.glob(f"*/orlop-{instance}")]


def remove_cgroups(instance: str) -> None:
    """Remove the cgroups of an instance that has ended for good."""
    for parent in cgroup_directories(instance):
        for directory, _, _ in os.walk(parent, topdown=False):
            with suppress(OSError):
                os.rmdir(directory)


async def _blocks(archive: Path) -> AsyncIterator[bytes]:
    with archive.open("rb") as file:
        while block := file.read(1 << 20):
            yield block


async def _run_for_ever(root: Path, archive: Path, parent: str, seconds: str) -> None:
    """Open an engine and run two steps in it, one with a network of its own, until somebody kills this process."""
    lab = Lab(root, NetworkNamespace(""))
    await lab.open(archive, EngineConfig(data_root=root / "data", exec_root=root / "run"))
    lab.executor = Executor(lab.engine, lab.contexts, Limits(cgroup_parent=parent), lab.caches, lab.kept)
    sinks = RecordingSink(), RecordingSink()
    networks: tuple[Literal["default", "host"], ...] = ("default", "host")
    steps = [
        asyncio.ensure_future(lab.execute(lab.step(f"echo; sleep {seconds}", network=network), None, sink))
        for network, sink in zip(networks, sinks, strict=True)
    ]
    for sink in sinks:
        await sink.heard.wait()
    print("running", flush=True)
    await asyncio.wait(steps)


if __name__ == "__main__":
    asyncio.run(_run_for_ever(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))
