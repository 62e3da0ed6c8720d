"""`stop`, `restart` and `kill`: signals, patience, SIGKILL."""

from __future__ import annotations

import asyncio
import logging
import signal as signals
from typing import TYPE_CHECKING

from orlop.engine.containers import events, pause, start
from orlop.engine.containers.registry import Container
from orlop.errors import Conflict, InvalidArgument, NotModified
from orlop.linux import cgroup

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["kill", "parse_signal", "restart", "stop", "stop_locked"]

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 10
KILL_PATIENCE = 10.0  # seconds for a SIGKILL to take effect before the cgroup is killed as a whole
REALTIME = {"RTMIN": 34, "RTMAX": 64}


async def stop(engine: Engine, ref: str, *, timeout: int | None = None, signal: str = "") -> None:
    """Stop a container: its stop signal, then SIGKILL after `timeout` seconds (negative: wait for ever).

    Raises `NotModified` when it does not run.
    """
    container = engine.containers.resolve(ref)
    number = parse_signal(signal) if signal else None
    async with container.lock:
        if container.state.status == "restarting":
            await _cancel_restart(engine, container)
            return
        if not container.running:
            raise NotModified("container is already stopped")
        await engine.containers.save(container, durable=False, stopped_by_user=True)
        await stop_locked(engine, container, timeout, number)
    events.publish(engine, container, "stop")


async def restart(engine: Engine, ref: str, *, timeout: int | None = None, signal: str = "") -> None:
    """Stop a container if it runs and start it; `--rm` does not remove it in between."""
    container = engine.containers.resolve(ref)
    number = parse_signal(signal) if signal else None
    async with container.lock:
        if container.state.status == "restarting":
            await _cancel_restart(engine, container)
        if container.running:
            container.manual_restart = True
            try:
                await stop_locked(engine, container, timeout, number)
            finally:
                container.manual_restart = False
        await engine.containers.save(container, durable=False, stopped_by_user=False)
        await start.start_locked(engine, container)
    events.publish(engine, container, "restart")


async def kill(engine: Engine, ref: str, *, signal: str = "KILL") -> None:
    """Send a signal. Raises `Conflict` when the container does not run."""
    number = parse_signal(signal or "KILL")
    container = engine.containers.resolve(ref)
    if not container.running or container.task is None:
        raise Conflict(f"cannot kill container: {ref}: container {container.id} is not running")
    if number == signals.SIGKILL:
        await engine.containers.save(container, durable=False, stopped_by_user=True)
    await _send(engine, container, number)
    if number == signals.SIGKILL:
        await _wait(container, KILL_PATIENCE)


async def stop_locked(engine: Engine, container: Container, timeout: int | None, number: int | None) -> None:
    """Stop a running container whose lock the caller holds; return when all that follows its exit is done."""
    config = container.record.config
    if number is None:
        number = parse_signal(config.stop_signal) if config.stop_signal else signals.SIGTERM
    if timeout is None:
        timeout = DEFAULT_TIMEOUT if config.stop_timeout is None else config.stop_timeout
    await _send(engine, container, number)
    if await _wait(container, None if timeout < 0 else float(timeout)):
        return
    log.info("container %s ignored signal %d for %d s, killing it", container.id[:12], number, timeout)
    await _send(engine, container, signals.SIGKILL)
    if await _wait(container, KILL_PATIENCE):
        return
    await asyncio.to_thread(cgroup.open_cgroup(engine.cgroup_path(container.record)).kill)
    if not await _wait(container, KILL_PATIENCE):
        raise Conflict(
            f"cannot stop container: {container.name}: tried to kill container, but did not receive an exit event"
        )


async def _send(engine: Engine, container: Container, number: int) -> None:
    """Send a signal; a frozen container is thawed behind it, or the signal would wait for ever."""
    if container.task is None:
        return
    await container.task.signal(number)
    events.publish(engine, container, "kill", signal=str(number))
    if container.state.status == "paused":
        await pause.thaw(engine, container)


async def _wait(container: Container, timeout: float | None) -> bool:
    try:
        await asyncio.wait_for(container.exited.wait(), timeout)
    except TimeoutError:
        return False
    return True


async def _cancel_restart(engine: Engine, container: Container) -> None:
    if container.restart:
        container.restart.cancel()
        container.restart = None
    await engine.containers.save_state(container, status="exited")
    await engine.containers.save(container, stopped_by_user=True)


def parse_signal(text: str) -> int:
    """Return the number of ``KILL``, ``SIGTERM``, ``9``, ``RTMIN+3``. Raises `InvalidArgument`."""
    name = text.upper().removeprefix("SIG")
    if name.isascii() and name.isdigit() and 0 < int(name) <= 64:
        return int(name)
    base, sign, offset = name.partition("+") if "+" in name else name.partition("-")
    if base in REALTIME and (not sign or (offset.isascii() and offset.isdigit())):
        number = REALTIME[base] + (int(offset or 0) if sign != "-" else -int(offset))
        if 34 <= number <= 64:
            return number
    try:
        return int(signals.Signals["SIG" + name])
    except KeyError:
        raise InvalidArgument(f"invalid signal: {text}") from None
