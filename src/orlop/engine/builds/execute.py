"""RUN: a command in a container of its own, and a layer of what it has changed.

The container stands on a fresh upper directory above the base's layers. When its program has ended with 0, that
directory is read as a layer; the container's remains (address, cgroup, directories) go in the background, and the next
step does not wait for that. Whoever ends a build waits for all of it: `Executor.settled`.
"""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from collections.abc import Callable, Collection, Coroutine
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from orlop.build.request import Limits
from orlop.build.worker import ExecFailed, ExecJob, Made, Sink
from orlop.engine.builds import exec_mounts, exec_platform, exec_record
from orlop.engine.builds.cache_mounts import CacheMounts
from orlop.engine.builds.exec_container import StepContainer
from orlop.engine.builds.exec_layer import read_layer
from orlop.engine.builds.exec_mounts import ContextTrees, StepMounts
from orlop.engine.builds.exec_output import Output
from orlop.engine.builds.kept import Kept
from orlop.engine.images.upload import host_platform
from orlop.errors import Error, Internal, Unavailable
from orlop.formats import identity, platform
from orlop.image.apart import apart
from orlop.image.leases import Lease
from orlop.model.record import LayerRecord, Rootfs
from orlop.runtime.runtime import Exit

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["Executor"]

T = TypeVar("T")

_MOUNT_POINTS = frozenset(("/dev", "/proc", "/sys", "/etc/hosts", "/etc/resolv.conf"))
"""Where every step has something mounted that an image may lack."""


class Executor:
    """Runs the commands of one build, any number at once."""

    def __init__(self, engine: Engine, contexts: ContextTrees, limits: Limits, caches: CacheMounts, kept: Kept) -> None:
        self._engine = engine
        self._contexts = contexts
        self._limits = limits
        self._caches = caches
        self._kept = kept
        self._releasing: set[asyncio.Task[None]] = set()

    async def execute(self, job: ExecJob, lease: Lease, sink: Sink) -> Made:
        """Run the command and make the layer.

        Raises `ExecFailed` for an end with another code than 0, and `errors.Error`; then, and when the caller is
        cancelled, nothing runs and nothing is left but what was to be kept.
        """
        began = time.monotonic()
        exec_mounts.check(job.node)
        if job.node.platform:
            exec_platform.check(platform.parse(job.node.platform), host_platform())
        container_id = identity.new_id()
        record = exec_record.make(job.node, container_id, self._limits, self._engine.config, self._engine.facts)
        container = StepContainer(self._engine, record)
        with ExitStack() as directory:
            directory.callback(self._release, container_id, partial(self._remove_directory, container_id))
            try:
                rootfs = self._engine.snapshots.fresh(container_id, job.base)
                exit, mount_points = await self._run(job, container, rootfs, sink)
                if exit.code == 0:
                    return Made(await self._read(job, lease, rootfs, mount_points), time.monotonic() - began)
            except OSError as error:
                raise _failure(error) from error
            kept = self._keep(job, container_id, exit.code) if job.keep_failed else ""
            if kept:
                directory.pop_all()
            raise ExecFailed(exit.code, oom_killed=exit.oom_killed, kept=kept)

    async def settled(self) -> None:
        """Wait until all that steps have left behind is gone."""
        while self._releasing:
            await asyncio.wait(self._releasing)

    async def _run(
        self, job: ExecJob, container: StepContainer, rootfs: Rootfs, sink: Sink
    ) -> tuple[Exit, frozenset[str]]:
        """Run the command to its end, or to that of the caller's patience; all its output has come then.

        Returns how it ended, and where something was mounted.
        """
        sink.container(container.id)
        async with AsyncExitStack() as stack:
            stack.callback(self._release, container.id, container.release)
            mounts = self._mounts(job, container.id)
            stack.callback(mounts.close)
            await mounts.prepare(stack)
            launch = await container.prepare(
                rootfs, environment=exec_record.environment(job.node), mounts=mounts.entries, mount_fds=mounts.fds
            )
            output = Output(sink)
            stack.callback(output.close)
            await container.launch(replace(launch, output_fds=output.fds))
            output.begin()
            mounts.close()
            exit = await container.ended()
            await output.ended()
        if exit.error:
            raise Internal(f"the step ended with an error: {exit.error}")
        return exit, _MOUNT_POINTS | mounts.points

    def _mounts(self, job: ExecJob, container_id: str) -> StepMounts:
        directory, layers = self._engine.directory(container_id), self._engine.images.layers
        return StepMounts(job.node, job.nodes, directory, layers, self._contexts, self._caches)

    def _keep(self, job: ExecJob, step_id: str, code: int) -> str:
        contexts, limits = self._contexts, self._limits
        return self._kept.keep(step_id, job.node, job.base, job.nodes, limits=limits, contexts=contexts, code=code)

    async def _read(self, job: ExecJob, lease: Lease, rootfs: Rootfs, mount_points: Collection[str]) -> LayerRecord:
        depot, stopped = self._engine.images.depot, threading.Event()
        return await _finished(
            lambda: read_layer(depot, lease, job.base, rootfs, mount_points, stopped, job.epoch), stopped.set
        )

    async def _remove_directory(self, container_id: str) -> None:
        await asyncio.to_thread(self._engine.snapshots.remove, container_id)

    def _release(self, container_id: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let `work` go on behind the step."""
        task = self._engine.spawn(work(), f"release of step {container_id[:12]}")
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)


def _failure(error: OSError) -> Error:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable("no space left on device")
    return Internal(f"the step could not be carried out: {error.strerror or error}")


async def _finished(work: Callable[[], T], stop: Callable[[], None]) -> T:
    """Do `work` in a thread; when the caller is cancelled, `stop` it and wait for its end all the same."""
    working = apart(work, "build-layer")
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        stop()
        with suppress(Error, OSError):
            await working
        raise
