"""What a shim that died leaves behind: processes of the container, which must not go on unseen."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable

from orlop.linux import pidfd, proc

__all__ = ["KillRest", "kill_exact", "kill_left", "open_exact"]

_log = logging.getLogger(__name__)
_DEATH_TIMEOUT = 10.0  # seconds; a killed process is in an uninterruptible sleep if it takes longer

KillRest = Callable[[str], None]
"""Kills every process of the container with that id (its cgroup). Called in a thread."""


async def kill_left(container_id: str, pid: int, start_ticks: int, kill_rest: KillRest | None) -> None:
    """Kill a container's first process (and with it all of its pid namespace) and the rest; wait for its death.

    `start_ticks` tell whether `pid` is still that process.
    """
    try:
        if kill_rest is not None:
            await asyncio.to_thread(kill_rest, container_id)
        if not await kill_exact(pid, start_ticks):
            _log.error("process %d of container %s does not die", pid, container_id[:12])
    except OSError as error:
        _log.error("what is left of container %s cannot be killed: %s", container_id[:12], error)


async def kill_exact(pid: int, start_ticks: int) -> bool:
    """Kill the process `pid` that started at `start_ticks`; say whether it is gone."""
    descriptor = open_exact(pid, start_ticks)
    if descriptor is None:
        return True
    try:
        pidfd.send_signal(descriptor, signal.SIGKILL)
        return await _ended(descriptor)
    except ProcessLookupError:
        return True
    finally:
        os.close(descriptor)


def open_exact(pid: int, start_ticks: int) -> int | None:
    """Return a pidfd of the process `pid` that started at `start_ticks`, None if it is gone."""
    if pid <= 0:
        return None
    try:
        descriptor = pidfd.open_process(pid)
    except ProcessLookupError:
        return None
    try:
        if proc.start_ticks(pid) == start_ticks:
            return descriptor
    except (FileNotFoundError, ProcessLookupError):
        pass
    os.close(descriptor)
    return None


async def _ended(descriptor: int) -> bool:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), _DEATH_TIMEOUT)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
    return True
