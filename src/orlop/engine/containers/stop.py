"""`stop` and `kill`: signals, patience, SIGKILL."""

from __future__ import annotations

import asyncio
import logging
import signal as signals
from typing import TYPE_CHECKING

from orlop.engine.containers import events, pause
from orlop.engine.containers.registry import Container
from orlop.errors import Conflict, InvalidArgument, NotModified
from orlop.linux import cgroup

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["cancel_restart", "kill", "parse_signal", "stop", "stop_locked"]

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 10
KILL_PATIENCE = 10.0  # seconds for a SIGKILL to take effect before the cgroup is killed as a whole
REALTIME = {"RTMIN": 34, "RTMAX": 64}


async def stop(engine: Engine, ref: str, *, timeout: int | None = None, signal: str = "") -> None:
    """Stop a container: its stop signal, then SIGKILL after `timeout` seconds (negative: wait for ever).

    Raises `NotModified` when it does not run.
    """
    number = parse_signal(signal) if signal else None
    async with engine.containers.locked(ref) as container:
        if container.state.status == "restarting":
            cancel_restart(engine, container)
            return
        if not container.running:
            raise NotModified("container is already stopped")
        engine.containers.note(container, stopped_by_user=True)
        await stop_locked(engine, container, timeout, number)
    events.publish(engine, container, "stop")


async def kill(engine: Engine, ref: str, *, signal: str = "KILL") -> None:
    """Send a signal; SIGKILL and the stop signal say that the container is not to be restarted.

    Raises `Conflict` when it does not run.
    """
    number = parse_signal(signal or "KILL")
    container = engine.containers.resolve(ref)
    if not container.running or container.task is None:
        raise Conflict(f"cannot kill container: {ref}: container {container.id} is not running")
    if number in (signals.SIGKILL, _stop_signal(container)):
        engine.containers.note(container, stopped_by_user=True)
    await _send(engine, container, number)
    if number == signals.SIGKILL:
        await _wait(container, KILL_PATIENCE)


async def stop_locked(engine: Engine, container: Container, timeout: int | None, number: int | None) -> None:
    """Stop a running container whose lock the caller holds; return when all that follows its exit is done."""
    if number is None:
        number = _stop_signal(container)
    if timeout is None:
        configured = container.record.config.stop_timeout
        timeout = DEFAULT_TIMEOUT if configured is None else configured
    if number != signals.SIGKILL:
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


def _stop_signal(container: Container) -> int:
    configured = container.record.config.stop_signal
    return parse_signal(configured) if configured else signals.SIGTERM


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
        await asyncio.wait_for(container.settled.wait(), timeout)
    except TimeoutError:
        return False
    return True


def cancel_restart(engine: Engine, container: Container) -> None:
    """Stop a container that waits for its restart."""
    container.cancel_restart()
    engine.containers.note(container, stopped_by_user=True)
    engine.containers.note_state(container, status="exited")


def parse_signal(text: str) -> int:
    """Return the number of ``KILL``, ``SIGTERM``, ``9``, ``RTMIN+3``. Raises `InvalidArgument`."""
    if text.isascii() and text.isdigit() and len(text) < 4 and 0 < int(text) <= 64:
        return int(text)
    name = text.upper().removeprefix("SIG")
    base, sign, offset = name.partition("+") if "+" in name else name.partition("-")
    if base in REALTIME and (not sign or (offset.isascii() and offset.isdigit())):
        number = REALTIME[base] + (int(offset or 0) if sign != "-" else -int(offset))
        if 34 <= number <= 64:
            return number
    try:
        return int(signals.Signals["SIG" + name])
    except KeyError:
        raise InvalidArgument(f"invalid signal: {text}") from None
