"""What follows when a container's program has ended: state, network, event, then removal or a restart."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import msgspec

from orlop.engine.containers import events, networking, remove, start
from orlop.engine.containers.registry import Container
from orlop.errors import Error
from orlop.linux import cgroup
from orlop.runtime.runtime import Exit, Task

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["follow", "handle"]

log = logging.getLogger(__name__)

LONG_ENOUGH = 10.0  # seconds of running after which the next restart is quick again
LONGEST_DELAY = 60.0


def follow(engine: Engine, container: Container, task: Task) -> None:
    """Handle the exit of `task` as soon as it happens."""

    async def wait() -> None:
        await handle(engine, container, await asyncio.shield(task.exited))

    engine.spawn(wait(), f"exit of {container.id[:12]}")


async def handle(engine: Engine, container: Container, exit: Exit) -> None:
    """Record how a container ended and do what its configuration asks for next."""
    ran = max(0, exit.time - container.state.started_at)
    removing = container.state.status == "removing"
    state = msgspec.structs.replace(
        container.state,
        status="removing" if removing else "exited",
        starting=False,
        pid=0,
        shim_pid=0,
        exit_code=exit.code,
        error=exit.error,
        oom_killed=exit.oom_killed,
        finished_at=exit.time,
    )
    container.task = None
    for instance in container.execs.values():
        instance.container_ended(exit.code)
    engine.spawn(_sweep(engine, container), f"cgroup of {container.id[:12]}")
    delay = None if removing else _restart_delay(engine, container, exit, ran)
    if delay is not None:
        state = msgspec.structs.replace(state, status="restarting")
    container.record = msgspec.structs.replace(container.record, state=state)
    await networking.release(engine, container)
    seconds = str(ran // 1_000_000_000)
    events.publish(engine, container, "die", execDuration=seconds, exitCode=str(exit.code))
    networking.publish_disconnect(engine, container)
    try:
        await engine.containers.save(container, endpoints=())
    finally:
        container.tell_exit()
        container.exited.set()
    if delay is not None:
        container.restart = engine.spawn(_restart(engine, container, delay), f"restart of {container.id[:12]}")
    elif container.record.host_config.auto_remove and not removing and not container.manual_restart:
        await remove.remove_gone(engine, container)


async def _sweep(engine: Engine, container: Container) -> None:
    """Remove the cgroup that the shim could not."""
    path = engine.cgroup_path(container.record)
    await asyncio.to_thread(cgroup.open_cgroup(path).remove)


def _restart_delay(engine: Engine, container: Container, exit: Exit, ran: int) -> float | None:
    """Return after how many seconds to start again, None for not at all."""
    policy = container.record.host_config.restart_policy
    if engine.closing or container.manual_restart or container.record.stopped_by_user:
        return None
    wanted = policy.name in ("always", "unless-stopped") or (
        policy.name == "on-failure"
        and exit.code != 0
        and (policy.maximum_retry_count == 0 or container.record.restart_count < policy.maximum_retry_count)
    )
    if not wanted:
        return None
    delay = 0.1 if ran >= LONG_ENOUGH * 1e9 else container.restart_delay
    container.restart_delay = min(delay * 2, LONGEST_DELAY)
    return delay


async def _restart(engine: Engine, container: Container, delay: float) -> None:
    await asyncio.sleep(delay)
    async with container.lock:
        if container.state.status != "restarting" or engine.closing:
            return
        container.restart = None
        count = container.record.restart_count + 1
        await engine.containers.save(container, durable=False, restart_count=count)
        try:
            await start.start_locked(engine, container)
        except Error as error:
            log.warning("container %s could not be restarted: %s", container.id[:12], error)
            failed = Exit(container.state.exit_code, time.time_ns(), error=error.message)
            again = _restart_delay(engine, container, failed, 0)
            if again is not None:
                await engine.containers.save_state(container, status="restarting")
                container.restart = engine.spawn(_restart(engine, container, again), f"restart of {container.id[:12]}")
