"""The container of a step: ephemeral, in no list and no store; it ends with its engine, whatever becomes of that.

What a crash leaves of one (its directory, its cgroup) belongs to no container and goes at the next start.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orlop.engine.containers import files, places, specification
from orlop.engine.containers.registry import Container
from orlop.errors import Error, Internal
from orlop.formats import identity
from orlop.linux import cgroup
from orlop.model.record import ContainerRecord, Rootfs
from orlop.network.network import EndpointRequest
from orlop.runtime.runtime import Exit, Launch, LogTarget, Stdio, Task
from orlop.runtime.spec import build_spec

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["StepContainer"]

log = logging.getLogger(__name__)

Json = dict[str, Any]


class StepContainer:
    """One such container: `prepare` and `launch` it once, then `release` what it holds, whatever came of it."""

    def __init__(self, engine: Engine, record: ContainerRecord) -> None:
        self.id = record.id
        self._engine = engine
        self._container = Container(record)
        self._task: Task | None = None

    @property
    def cgroup_path(self) -> str:
        """The path of its cgroup."""
        return self._engine.cgroup_path(self._container.record)

    async def connect_network(self, netns_fd: int) -> Json:
        """Connect its network namespace (`supervise.Guest`)."""
        endpoint, bridge = self._container.endpoint, self._engine.bridge
        if endpoint is None or bridge is None:
            raise Internal(f"step {self.id[:12]} has no endpoint to connect")
        return await bridge.connect(endpoint, netns_fd)

    async def prepare(
        self,
        rootfs: Rootfs,
        *,
        environment: Sequence[str],
        mounts: Sequence[Json] = (),
        mount_fds: Sequence[int] = (),
        stdio: Stdio | None = None,
    ) -> Launch:
        """Reserve an address, write the files that are mounted, and return what is to be launched.

        `mounts` are OCI mounts, performed after those that every container has, in their order.
        """
        engine, record = self._engine, self._container.record
        if record.host_config.network_mode == "bridge":
            await self._allocate()
        self._write_files()
        self._note_cgroup()
        spec = build_spec(record, specification.context(engine, self._container))
        spec["process"]["env"] = list(environment)
        spec["mounts"] += mounts
        return Launch(
            id=self.id,
            spec=spec,
            rootfs=rootfs,
            run_dir=places.run_dir(engine, self.id),
            log=LogTarget(None),
            stdio=stdio or Stdio(),
            seccomp=specification.seccomp(spec),
            network=self._container.endpoint is not None,
            mount_fds=tuple(mount_fds),
            tied=True,
        )

    async def launch(self, launch: Launch) -> Task:
        """Start what `prepare` returned. Raises `errors.StartFailed`."""
        self._engine.supervisor.guests[self.id] = self
        self._task = await self._engine.runtime.launch(launch)
        return self._task

    async def ended(self) -> Exit:
        """Wait for the end; if the caller is cancelled, bring it about first."""
        assert self._task is not None
        try:
            return await asyncio.shield(self._task.exited)
        except asyncio.CancelledError:
            await asyncio.shield(self._engine.spawn(self.kill(), f"end of step {self.id[:12]}"))
            raise

    async def resize(self, height: int, width: int) -> None:
        """Set the size of its terminal, in characters. Raises `errors.Conflict` after its end."""
        if self._task is not None:
            await self._task.resize(height, width)

    async def kill(self) -> None:
        """Kill all that runs in it and wait for the end."""
        if self._task is not None and not self._task.exited.done():
            await self._task.signal(signal.SIGKILL)
            await asyncio.shield(self._task.exited)

    async def release(self) -> None:
        """Give back address, cgroup and run directory. Nothing of it may run any more."""
        self._engine.supervisor.guests.pop(self.id, None)
        endpoint, bridge = self._container.endpoint, self._engine.bridge
        if endpoint is not None and bridge is not None:
            self._container.endpoint = None
            try:
                await bridge.release(endpoint.record)
            except Error as error:
                log.error("what step %s held of its network stays until the next start: %s", self.id[:12], error)
        await asyncio.to_thread(self._remove)

    def _remove(self) -> None:
        try:
            cgroup.open_cgroup(self.cgroup_path).remove()  # the shim does that, too, if it comes to it
        except OSError as error:
            log.warning("the cgroup of step %s stays: %s", self.id[:12], error)
        shutil.rmtree(places.run_dir(self._engine, self.id), ignore_errors=True)

    async def _allocate(self) -> None:
        bridge = self._engine.bridge
        if bridge is None:
            raise Internal("a step wants a network, and there is no default bridge (see --network=none)")
        self._container.endpoint = await bridge.allocate(EndpointRequest(self.id, identity.new_id()))

    def _note_cgroup(self) -> None:
        """Write down where the cgroup is if that is not below the engine's own, for a sweep after a crash."""
        if self._container.record.host_config.cgroup_parent:
            (self._engine.directory(self.id) / places.CGROUP_NOTE).write_text(self.cgroup_path)

    def _write_files(self) -> None:
        """Write what is mounted over files of the image; /etc/hostname is not among them: a step may make one."""
        directory = self._engine.directory(self.id)
        with files.refused():
            files.put(directory / "hosts", files.text_of_hosts(self._engine, self._container))
            files.put(directory / "resolv.conf", files.text_of_resolv_conf(self._engine, self._container))
