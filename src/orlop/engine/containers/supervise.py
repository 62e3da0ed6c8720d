"""What the runtime tells of running containers, turned into the engine's own steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.engine.containers import events, networking
from orlop.engine.containers import exec as exec_use_case
from orlop.runtime.runtime import Exit

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["Supervisor"]


class Supervisor:
    """The `TaskListener` of an engine. Exits are followed through `Task.exited` (`exit.follow`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def connect_network(self, container_id: str, netns_fd: int) -> dict[str, Any]:
        return await networking.connect(self._engine, container_id, netns_fd)

    def attached(self, container_id: str, attach_id: str) -> None:
        """Nothing to do: the attach event was published when the client asked."""

    def detached(self, container_id: str, attach_id: str) -> None:
        self._publish(container_id, "detach")

    def exec_exited(self, container_id: str, exec_id: str, exit: Exit) -> None:
        container = self._engine.containers.get(container_id)
        if container:
            exec_use_case.exited(self._engine, container, exec_id, exit)

    def oom(self, container_id: str) -> None:
        self._publish(container_id, "oom")

    def exited(self, container_id: str, exit: Exit) -> None:
        """Nothing to do: see the class."""

    def _publish(self, container_id: str, action: str) -> None:
        container = self._engine.containers.get(container_id)
        if container:
            events.publish(self._engine, container, action)
