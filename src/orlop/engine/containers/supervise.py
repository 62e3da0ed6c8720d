"""What the runtime tells of running containers, turned into the engine's own steps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from orlop.engine.containers import events, networking
from orlop.engine.containers import exec as exec_use_case
from orlop.engine.containers import exit as exit_use_case
from orlop.engine.containers.registry import Container
from orlop.runtime.runtime import Exit, Task

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["Guest", "Supervisor"]


class Guest(Protocol):
    """What runs under the engine's runtime and is no container that anybody sees: a step of a build."""

    @property
    def cgroup_path(self) -> str:
        """The path of its cgroup below the root of each hierarchy."""

    async def connect_network(self, netns_fd: int) -> dict[str, Any]:
        """Connect the namespace, as `TaskListener.connect_network` does."""


class Supervisor:
    """The `TaskListener` of an engine. Exits are followed through `Task.exited`: see `follow`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.guests: dict[str, Guest] = {}  # by id, between their launch and their end

    def follow(self, container: Container, task: Task) -> None:
        """Do what an exit asks for as soon as `task` ends."""

        def ended(exited: asyncio.Future[Exit]) -> None:
            work = exit_use_case.handle(self._engine, container, exited.result())
            self._engine.spawn(work, f"exit of {container.id[:12]}")

        task.exited.add_done_callback(ended)

    async def connect_network(self, container_id: str, netns_fd: int) -> dict[str, Any]:
        """Connect the namespace of a container, or of a guest, that is being started."""
        if guest := self.guests.get(container_id):
            return await guest.connect_network(netns_fd)
        return await networking.connect(self._engine, container_id, netns_fd)

    def attached(self, container_id: str, attach_id: str) -> None:
        """Nothing to do: the attach event was published when the client asked."""

    def detached(self, container_id: str, attach_id: str) -> None:
        """Publish that a client used its detach keys."""
        self._publish(container_id, "detach")

    def exec_exited(self, container_id: str, exec_id: str, exit: Exit) -> None:
        """Record how a further process ended."""
        container = self._engine.containers.get(container_id)
        if container:
            exec_use_case.exited(self._engine, container, exec_id, exit)

    def oom(self, container_id: str) -> None:
        """Publish that a container met its memory limit."""
        self._publish(container_id, "oom")

    def exited(self, container_id: str, exit: Exit) -> None:
        """Nothing to do: see `follow`."""

    def _publish(self, container_id: str, action: str) -> None:
        container = self._engine.containers.get(container_id)
        if container:
            events.publish(self._engine, container, action)
