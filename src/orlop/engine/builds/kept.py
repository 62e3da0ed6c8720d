"""Kept file systems of steps: of one that failed, or of one after which a build was to stop; a shell opens in them.

A step is kept until it is dismissed, for a day, or until the engine ends, whichever is first. Its layers are held by a
lease meanwhile. A shell runs in a container like the step's own, on the step's upper directory; what it writes stays
there until the step is dismissed, and goes into no layer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orlop.build.graph import Exec
from orlop.build.request import Limits
from orlop.build.worker import FileSystem
from orlop.engine.builds import exec_record
from orlop.engine.builds.cache_mounts import CacheMounts
from orlop.engine.builds.exec_container import StepContainer
from orlop.engine.builds.exec_mounts import ContextTrees, StepMounts
from orlop.engine.hijack import Hijackable
from orlop.errors import Error, NotFound
from orlop.formats import identity, stream
from orlop.image.leases import Lease
from orlop.runtime.runtime import Attach, Launch, Stdio

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["Kept", "KeptStep"]

log = logging.getLogger(__name__)

KEPT_SECONDS = 24 * 3600.0


@dataclass(eq=False, slots=True)
class KeptStep:
    """One kept file system, and what its step was. `code` is how its command ended, 0 for a finished step."""

    id: str  # 64 hex digits
    node: Exec
    nodes: Mapping[int, FileSystem]
    code: int
    limits: Limits
    contexts: ContextTrees
    lease: Lease
    kept_at: int  # ns
    shells: dict[str, StepContainer] = field(default_factory=dict)
    expiry: asyncio.TimerHandle | None = None


class Kept:
    """All that is kept by one engine."""

    def __init__(self, engine: Engine, caches: CacheMounts) -> None:
        self._engine = engine
        self._caches = caches
        self._steps: dict[str, KeptStep] = {}

    def all(self) -> list[KeptStep]:
        """Return what is kept, the oldest first."""
        return list(self._steps.values())

    def keep(
        self,
        step_id: str,
        node: Exec,
        base: FileSystem,
        nodes: Mapping[int, FileSystem],
        *,
        limits: Limits,
        contexts: ContextTrees,
        code: int = 0,
    ) -> str:
        """Keep the file system of a step, which `snapshots.fresh` has made and which is ours from now on.

        `nodes` are the file systems that it mounts. Returns the id under which it is kept.
        """
        lease, layers = self._engine.images.lease(), self._engine.images.layers
        for chain in (base, *nodes.values()):
            for name in layers.names_of_chain(chain, "a kept step"):
                lease.hold(name)
        step = KeptStep(step_id, node, nodes, code, limits, contexts, lease, time.time_ns())
        step.expiry = asyncio.get_running_loop().call_later(KEPT_SECONDS, self._expire, step_id)
        self._steps[step_id] = step
        return step_id

    def stop_after(
        self,
        node: Exec,
        base: FileSystem,
        nodes: Mapping[int, FileSystem],
        *,
        limits: Limits,
        contexts: ContextTrees,
    ) -> str:
        """Keep what a finished step has left: an empty upper directory above its layers `base`, under a new id."""
        step_id = identity.new_id()
        self._engine.snapshots.fresh(step_id, base)
        return self.keep(step_id, node, base, nodes, limits=limits, contexts=contexts)

    def get(self, ref: str) -> KeptStep:
        """Return the step whose id is `ref`, or begins with it. Raises `NotFound`."""
        found = [step for key, step in self._steps.items() if ref and key.startswith(ref)]
        if len(found) != 1:
            raise NotFound(f"No such kept step: {ref}")
        return found[0]

    async def shell(self, ref: str, connection: Hijackable, *, tty: bool, size: tuple[int, int] = (0, 0)) -> int:
        """Open a shell with the step's own environment, user, mounts and limits; return its exit code when it ends.

        Its streams are the client's connection, and it ends when that goes. Raises `Conflict` while another shell is
        in the same file system, and `errors.Error` with what failed before the connection became a stream.
        """
        step, engine = self.get(ref), self._engine
        node = replace(step.node, arguments=(exec_record.shell(step.node),))
        record = exec_record.make(node, identity.new_id(), step.limits, engine.config, engine.facts, tty=tty)
        container = StepContainer(engine, record)
        async with AsyncExitStack() as stack:
            stack.enter_context(engine.snapshots.claim(step.id))
            stack.callback(engine.snapshots.remove, container.id)
            stack.push_async_callback(container.release)
            rootfs = engine.snapshots.again(step.id, container.id)
            directory = engine.directory(container.id)
            mounts = StepMounts(node, step.nodes, directory, engine.images.layers, step.contexts, self._caches)
            stack.callback(mounts.close)
            await mounts.prepare(stack)
            launch = await container.prepare(
                rootfs,
                environment=exec_record.environment(node, tty=tty),
                mounts=mounts.entries,
                mount_fds=mounts.fds,
                stdio=Stdio(tty=tty, stdin=True, stdin_once=True, size=size),
            )
            step.shells[container.id] = container
            stack.callback(step.shells.pop, container.id)
            return await self._joined(container, launch, connection, tty)

    async def resize(self, ref: str, height: int, width: int) -> None:
        """Tell the terminal of a step's shell its size in characters."""
        for container in list(self.get(ref).shells.values()):
            await container.resize(height, width)

    async def dismiss(self, ref: str) -> None:
        """End the shells in a kept file system and remove it. Raises `NotFound`."""
        step = self.get(ref)
        del self._steps[step.id]
        if step.expiry is not None:
            step.expiry.cancel()
        for container in list(step.shells.values()):
            await container.kill()
        self._engine.snapshots.remove(step.id)
        await asyncio.to_thread(step.lease.release)

    async def close(self) -> None:
        """Dismiss everything."""
        for step in self.all():
            await self.dismiss(step.id)

    async def _joined(self, container: StepContainer, launch: Launch, connection: Hijackable, tty: bool) -> int:
        """Launch a shell on a client's connection and wait for its end."""
        fd, tail = await connection.upgrade(tty=tty)
        attach = Attach(
            container.id[:16], fd, stdin=True, stdout=True, stderr=True, framed=not tty, detach_keys=b"", tail=tail
        )
        watched = replace(attach, fd=os.dup(fd))
        try:
            await container.launch(replace(launch, attaches=(attach,)))
        except BaseException as error:
            if isinstance(error, Error):
                _say(watched.fd, error.message, tty=tty)
            os.close(watched.fd)
            raise

        def gone() -> None:
            self._engine.spawn(container.kill(), f"end of shell {container.id[:12]}")

        self._engine.parking.park(container.id, watched, gone)
        try:
            return (await container.ended()).code
        finally:
            self._engine.parking.drop(container.id)

    def _expire(self, step_id: str) -> None:
        if step_id in self._steps:
            self._engine.spawn(self.dismiss(step_id), f"dismissal of step {step_id[:12]}")


def _say(fd: int, message: str, *, tty: bool) -> None:
    """Tell a client whose connection is a stream already what went wrong."""
    text = f"{message}\r\n".encode()
    with suppress(OSError):  # it has gone
        os.write(fd, text if tty else stream.frame(stream.STDERR, text))
