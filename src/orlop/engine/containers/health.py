"""Health checks: a command is run in a container again and again, and its exit code says how the container is.

A container begins as ``starting``. A probe that succeeds makes it ``healthy``; `retries` that fail in a row make it
``unhealthy``, where those within the start period do not count until one has succeeded. A check stands still while
the container is paused; one that does not run counts as unhealthy, as with Docker. What was found is kept in memory: a
daemon that starts again begins anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orlop.engine.containers import events
from orlop.engine.containers import exec as execs
from orlop.engine.containers.registry import Container
from orlop.errors import Error
from orlop.formats.duration import format_duration, format_rfc3339
from orlop.linux import pidfd
from orlop.model.api.container import HealthConfig
from orlop.model.api.exec import ExecCreate, ExecStart

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["Health", "begin", "end", "end_all", "status"]

Json = dict[str, Any]

log = logging.getLogger(__name__)

_SECOND = 1_000_000_000
INTERVAL, TIMEOUT, START_INTERVAL, RETRIES = 30 * _SECOND, 30 * _SECOND, 5 * _SECOND, 3
_KEPT_RESULTS = 5
_MAX_OUTPUT = 4096
_SHELL = ("/bin/sh", "-c")
_GRACE = 2.0  # seconds that a probe has to end after SIGTERM
_FAILED = -1  # the exit code of a probe that took too long, or could not be run


@dataclass(slots=True)
class _Result:
    """How one probe went; times in ns."""

    start: int
    end: int
    code: int
    output: str


@dataclass(eq=False, slots=True)
class Health:
    """What is known of a container's health."""

    status: str = "starting"
    streak: int = 0  # probes that failed in a row
    results: list[_Result] = field(default_factory=list)
    monitor: asyncio.Task[None] | None = None

    def json(self) -> Json:
        """Return it in Docker's shape."""
        shown = [
            {
                "Start": format_rfc3339(result.start),
                "End": format_rfc3339(result.end),
                "ExitCode": result.code,
                "Output": result.output,
            }
            for result in self.results
        ]
        return {"Status": self.status, "FailingStreak": self.streak, "Log": shown}

    def note(self, result: _Result, *, retries: int, starting: bool) -> None:
        """Take the result of a probe; `starting` says that a failure may not count yet."""
        self.results = [*self.results, result][-_KEPT_RESULTS:]
        if result.code == 0:
            self.streak, self.status = 0, "healthy"
            return
        if starting and self.status == "starting":
            return
        self.streak += 1
        if self.streak >= retries:
            self.status = "unhealthy"


def begin(engine: Engine, container: Container) -> None:
    """Begin to check a container that runs, if it has a check."""
    check = container.record.config.healthcheck
    command = _command(container)
    if check is None or not command:
        return
    end(container)
    known = container.health
    container.health = health = Health(results=known.results if known else [])
    work = _watch(engine, container, health, check, command)
    health.monitor = engine.spawn(work, f"health of {container.id[:12]}")


def end(container: Container) -> None:
    """Stop checking."""
    health = container.health
    if health is not None and health.monitor is not None:
        health.monitor.cancel()
        health.monitor = None
        health.status = "unhealthy"


def end_all(engine: Engine) -> None:
    """Stop checking all containers, which run on."""
    for container in engine.containers:
        end(container)


def status(container: Container) -> str:
    """Return ``healthy``, ``unhealthy`` or ``starting``; ``none`` without a check."""
    return container.health.status if container.health else "none"


def _command(container: Container) -> list[str]:
    config = container.record.config
    test = config.healthcheck.test if config.healthcheck else []
    match test[:1]:
        case ["CMD"]:
            return test[1:]
        case ["CMD-SHELL"]:
            return [*(config.shell or _SHELL), *test[1:]]
        case _:
            return []


async def _watch(engine: Engine, container: Container, health: Health, check: HealthConfig, command: list[str]) -> None:
    started_at = container.state.started_at
    while True:
        young = time.time_ns() - started_at < check.start_period
        quick = young and health.status == "starting"
        await asyncio.sleep(
            ((check.start_interval or START_INTERVAL) if quick else check.interval or INTERVAL) / _SECOND
        )
        result = await _probe(engine, container, command, check.timeout or TIMEOUT)
        before = health.status
        health.note(
            result,
            retries=check.retries or RETRIES,
            starting=result.start - started_at < check.start_period,
        )
        if health.status != before:
            events.publish(engine, container, f"health_status: {health.status}")


async def _probe(engine: Engine, container: Container, command: list[str], timeout: int) -> _Result:
    """Run the command once, `timeout` ns at most."""
    start = time.time_ns()
    output = _Output()
    try:
        code, late = await _run(engine, container, command, timeout, output)
    except Error as error:
        return _Result(start, time.time_ns(), _FAILED, error.message)
    text = output.text()
    if late:
        code = _FAILED
        text = f"Health check exceeded timeout ({format_duration(timeout)})" + (f": {text}" if text else "")
    return _Result(start, time.time_ns(), code, text)


async def _run(
    engine: Engine, container: Container, command: list[str], timeout: int, output: _Output
) -> tuple[int, bool]:
    """Return the exit code, and whether the command was killed because it took too long."""
    body = ExecCreate(cmd=command, attach_stdout=True, attach_stderr=True)
    exec_id = await execs.create(engine, container.id, body)
    instance = container.execs[exec_id]
    reading, connection = _connection()
    reader = asyncio.ensure_future(output.read(reading))
    try:
        async with asyncio.timeout(timeout / _SECOND):
            await execs.start(engine, exec_id, body=ExecStart(tty=True), connection=connection)
            await instance.done.wait()
        late = False
    except TimeoutError:
        late = True
    finally:
        if instance.running:
            await asyncio.shield(_stop(instance))
        connection.close()
        with suppress(TimeoutError):  # something that the command left behind may hold its output open
            await asyncio.wait_for(reader, 0.2)
        reading.close()
        container.execs.pop(exec_id, None)
    return instance.exit_code or 0, late


async def _stop(instance: execs.Exec) -> None:
    """End a probe that still runs."""
    try:
        descriptor = pidfd.open_process(instance.pid)
    except ProcessLookupError:
        return
    with suppress(ProcessLookupError):
        try:
            for number in (signal.SIGTERM, signal.SIGKILL):
                pidfd.send_signal(descriptor, number)
                with suppress(TimeoutError):
                    await asyncio.wait_for(instance.done.wait(), _GRACE)
                    return
        finally:
            os.close(descriptor)


class _Output:
    """The beginning of what a command writes."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._more = False

    async def read(self, sock: socket.socket) -> None:
        """Read to the end, whatever of it is kept."""
        loop = asyncio.get_running_loop()
        while block := await loop.sock_recv(sock, 64 << 10):
            room = _MAX_OUTPUT - len(self._data)
            self._data += block[:room]
            self._more = self._more or len(block) > room

    def text(self) -> str:
        """Return what was read, with dots where there was more."""
        return self._data.decode("utf-8", "replace") + ("..." if self._more else "")


class _Pair:
    """The end of a socket pair that a process's output goes to: an `orlop.engine.hijack.Hijackable`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock: socket.socket | None = sock

    async def upgrade(self, *, tty: bool) -> tuple[int, bytes]:
        assert self._sock is not None
        sock, self._sock = self._sock, None
        return sock.detach(), b""

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()


def _connection() -> tuple[socket.socket, _Pair]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return ours, _Pair(theirs)
