"""`POST /containers/{id}/restart`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.containers import events, start, stop

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["restart"]


async def restart(engine: Engine, ref: str, *, timeout: int | None = None, signal: str = "") -> None:
    """Stop a container if it runs and start it; `--rm` does not remove it in between."""
    number = stop.parse_signal(signal) if signal else None
    async with engine.containers.locked(ref) as container:
        if container.state.status == "restarting":
            stop.cancel_restart(engine, container)
        if container.running:
            container.manual_restart = True
            try:
                await stop.stop_locked(engine, container, timeout, number)
            finally:
                container.manual_restart = False
            events.publish(engine, container, "stop")
        await container.settled.wait()
        container.cancel_restart()
        engine.containers.note(container, stopped_by_user=False)
        await start.start_locked(engine, container)
    events.publish(engine, container, "restart")
