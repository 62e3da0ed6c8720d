"""What follows when a container's program has ended: state, network, event, then removal or a restart."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import msgspec

from orlop.engine.containers import events, health, networking, remove, start, storage
from orlop.engine.containers.registry import FIRST_RESTART_DELAY, Container
from orlop.errors import Error
from orlop.linux import cgroup
from orlop.runtime.runtime import Exit

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["handle", "publish", "record", "restart", "wants_restart"]

log = logging.getLogger(__name__)

LONG_ENOUGH = 10.0  # seconds of running after which the next restart is quick again
LONGEST_DELAY = 60.0


async def handle(engine: Engine, container: Container, exit: Exit) -> None:
    """Record how a container ended and do what its configuration asks for next.

    Nobody may wait for the container's lock here: `stop` holds it until the container is settled.
    """
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
    health.end(container)
    for instance in container.execs.values():
        instance.container_ended(exit.code)
    sweep = engine.spawn(_sweep(engine, container), f"cgroup of {container.id[:12]}")
    delay = None if removing else _restart_delay(engine, container, exit, ran)
    if delay is not None:
        state = msgspec.structs.replace(state, status="restarting")
    container.record = msgspec.structs.replace(container.record, state=state)
    try:
        await _tell(engine, container, exit, ran)
        await asyncio.wait([sweep])  # the next start makes a cgroup of the same name
    finally:
        container.settled.set()
    if delay is not None:
        _restart_after(engine, container, delay)
    elif container.record.host_config.auto_remove and not removing and not container.manual_restart:
        await remove.remove_gone(engine, container)


async def _tell(engine: Engine, container: Container, exit: Exit, ran: int) -> None:
    """Give the network back, publish the end, store it, and answer those who wait for it."""
    try:
        storage.release(engine, container)
        await _leave_network(engine, container)
        publish(engine, container, exit, ran)
        await record(engine, container)
    finally:
        container.tell_exit()


def publish(engine: Engine, container: Container, exit: Exit, ran: int) -> None:
    """Publish what an end means: the container dies after `ran` ns, leaves its networks and its volumes."""
    events.publish(engine, container, "die", execDuration=str(ran // 1_000_000_000), exitCode=str(exit.code))
    networking.publish_disconnect(engine, container)
    events.publish_volumes(engine, container, "unmount")


async def _leave_network(engine: Engine, container: Container) -> None:
    try:
        await networking.release(engine, container)
    except Error as error:
        log.error("what container %s held of its network stays until the next start: %s", container.id[:12], error)


async def record(engine: Engine, container: Container) -> None:
    """Store a container's end, and that it holds nothing of a network. A full disk does not hold that up."""
    try:
        await engine.containers.save(container, endpoints=())
    except Error as error:  # the shim has written it, too
        log.error("the end of container %s cannot be stored: %s", container.id[:12], error)


async def _sweep(engine: Engine, container: Container) -> None:
    """Remove the cgroup that the shim could not."""
    path = engine.cgroup_path(container.record)
    await asyncio.to_thread(cgroup.open_cgroup(path).remove)


def wants_restart(container: Container, code: int) -> bool:
    """Tell whether the restart policy asks for another start after an end with `code`."""
    record = container.record
    policy = record.host_config.restart_policy
    if record.stopped_by_user:
        return False
    if policy.name == "on-failure":
        return code != 0 and (policy.maximum_retry_count == 0 or record.restart_count < policy.maximum_retry_count)
    return policy.name in ("always", "unless-stopped")


def _restart_delay(engine: Engine, container: Container, exit: Exit, ran: int) -> float | None:
    """Return after how many seconds to start again, None for not at all."""
    if engine.closing or container.manual_restart or not wants_restart(container, exit.code):
        return None
    delay = FIRST_RESTART_DELAY if ran >= LONG_ENOUGH * 1e9 else container.restart_delay
    container.restart_delay = min(delay * 2, LONGEST_DELAY)
    return delay


def _restart_after(engine: Engine, container: Container, delay: float) -> None:
    def due() -> None:
        container.restart = None
        engine.spawn(restart(engine, container), f"restart of {container.id[:12]}")

    container.restart = asyncio.get_running_loop().call_later(delay, due)


async def restart(engine: Engine, container: Container) -> None:
    """Start a container that waits for its restart, and count that; try again later if it fails."""
    async with container.lock:
        if container.state.status != "restarting" or engine.closing:
            return
        engine.containers.note(container, restart_count=container.record.restart_count + 1)
        try:
            await start.start_locked(engine, container)
        except Error as error:
            log.warning("container %s could not be restarted: %s", container.id[:12], error)
            failed = Exit(container.state.exit_code, time.time_ns(), error=error.message)
            again = _restart_delay(engine, container, failed, 0)
            if again is not None:
                engine.containers.note_state(container, status="restarting")
                _restart_after(engine, container, again)
