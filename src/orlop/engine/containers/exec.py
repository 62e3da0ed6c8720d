"""Further processes in a running container: `POST /containers/{id}/exec` and `/exec/{id}/…`."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from orlop.engine.containers import events, specification
from orlop.engine.containers.attach import detach_keys
from orlop.engine.containers.registry import Container
from orlop.engine.hijack import Hijackable
from orlop.errors import Conflict, InvalidArgument, NotFound, StartFailed
from orlop.formats import identity
from orlop.model.api.exec import ExecCreate, ExecStart
from orlop.runtime.runtime import Attach, ExecRequest, Exit, Stdio, Task
from orlop.runtime.spec import exec_process

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["Exec", "create", "inspect", "prune", "resize", "start"]

Json = dict[str, Any]

KEPT = 300.0  # seconds that an ended exec can still be inspected
NOT_STARTED = 126  # the exit code of a process that could not even be asked for


@dataclass(eq=False, slots=True)
class Exec:
    """One further process: prepared, running or ended."""

    id: str
    container: Container
    body: ExecCreate
    detach_keys: bytes
    tty: bool = False
    running: bool = False
    started: bool = False
    pid: int = 0
    exit_code: int | None = None
    ended_at: float = field(default=0.0)  # monotonic seconds
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def ended(self, code: int) -> None:
        """Note the end of the process."""
        self.running, self.exit_code, self.ended_at = False, code, time.monotonic()
        self.done.set()

    def container_ended(self, code: int) -> None:
        """Note that the container took the process along."""
        if self.running:
            self.ended(128 + 9 if code == 0 else code)
        elif not self.started:
            self.ended_at = self.ended_at or time.monotonic()
            self.done.set()


async def create(engine: Engine, ref: str, body: ExecCreate) -> str:
    """Prepare a process; return its id. Raises `Conflict` when the container does not run."""
    container = engine.containers.resolve(ref)
    if not body.cmd:
        raise InvalidArgument("No exec command specified")
    keys = detach_keys(body.detach_keys)
    _check_running(container, ref)
    instance = Exec(identity.new_id(), container, body, keys, tty=body.tty)
    container.execs[instance.id] = instance
    events.publish(engine, container, f"exec_create: {_words(body)}", execID=instance.id)
    return instance.id


async def start(engine: Engine, exec_id: str, *, body: ExecStart, connection: Hijackable | None) -> None:
    """Start a prepared process, joined to the client's connection unless it is detached.

    Raises `StartFailed` when the program cannot be executed and no stream was asked for; else the stream says so.
    """
    instance = _find(engine, exec_id)
    _check_running(instance.container, instance.container.id)
    if instance.started:
        how = "is already running" if instance.running else "has already run"
        raise Conflict(f"Error: Exec command {exec_id} {how}")
    asked = instance.body
    detached = (
        body.detach or connection is None or not (asked.attach_stdin or asked.attach_stdout or asked.attach_stderr)
    )
    task = instance.container.task
    if task is None:
        raise Conflict(f"container {instance.container.id} is not running")
    instance.started = True
    try:
        await _run(engine, instance, task, body, None if detached else connection)
    except BaseException:
        if instance.ended_at == 0:
            instance.ended(NOT_STARTED)
        raise


async def _run(engine: Engine, instance: Exec, task: Task, body: ExecStart, connection: Hijackable | None) -> None:
    asked = instance.body
    request = _request(engine, instance, body)
    attach = None
    if connection is not None:
        fd, tail = await connection.upgrade(tty=body.tty)
        attach = Attach(
            id=instance.id[:16],
            fd=fd,
            stdin=asked.attach_stdin,
            stdout=asked.attach_stdout,
            stderr=asked.attach_stderr,
            framed=not body.tty,  # as this request says, whatever the process has
            detach_keys=instance.detach_keys,
            tail=tail,
        )
    events.publish(engine, instance.container, f"exec_start: {_words(asked)}", execID=instance.id)
    instance.running = True
    try:
        instance.pid = await task.exec(replace(request, attach=attach))
    except StartFailed as error:
        instance.ended(error.exit_code)
        if attach is None:
            raise


async def resize(engine: Engine, exec_id: str, *, height: int, width: int) -> None:
    """Tell the process's terminal its size in characters."""
    instance = _find(engine, exec_id)
    task = instance.container.task
    if not instance.running or task is None:
        raise Conflict(f"exec process is not running: {exec_id}")
    await task.resize(height, width, exec_id)


async def inspect(engine: Engine, exec_id: str) -> Json:
    """Return what is known of a process."""
    instance = _find(engine, exec_id)
    body = instance.body
    words = body.cmd or [""]
    return {
        "ID": instance.id,
        "Running": instance.running,
        "ExitCode": instance.exit_code,
        "ProcessConfig": {
            "tty": instance.tty,
            "entrypoint": words[0],
            "arguments": words[1:],
            "privileged": body.privileged,
            **({"user": body.user} if body.user else {}),
        },
        "OpenStdin": body.attach_stdin,
        "OpenStderr": body.attach_stderr,
        "OpenStdout": body.attach_stdout,
        "CanRemove": instance.ended_at > 0,
        "ContainerID": instance.container.id,
        "DetachKeys": "".join(chr(byte) for byte in instance.detach_keys) if body.detach_keys else "",
        "Pid": instance.pid,
    }


def exited(engine: Engine, container: Container, exec_id: str, exit: Exit) -> None:
    """Take note of a process's end, as its shim tells it."""
    instance = container.execs.get(exec_id)
    if instance is None:
        return
    instance.ended(exit.code)
    events.publish(engine, container, "exec_die", execID=exec_id, exitCode=str(exit.code))
    prune(container)


def prune(container: Container) -> None:
    """Forget processes that ended a while ago."""
    late = time.monotonic() - KEPT
    for key in [key for key, instance in container.execs.items() if 0 < instance.ended_at < late]:
        del container.execs[key]


def _request(engine: Engine, instance: Exec, body: ExecStart) -> ExecRequest:
    asked = instance.body
    size = body.console_size or asked.console_size or [0, 0]
    if len(size) != 2:
        raise InvalidArgument("invalid console size")
    context = specification.context(engine, instance.container)
    process = exec_process(instance.container.record, asked, context)
    seccomp = specification.seccomp_of(engine, instance.container, context)
    stdio = Stdio(tty=instance.tty, stdin=asked.attach_stdin, stdin_once=True, size=(size[0], size[1]))
    return ExecRequest(instance.id, process, stdio, seccomp=seccomp)


def _find(engine: Engine, exec_id: str) -> Exec:
    for container in engine.containers:
        if exec_id in container.execs:
            return container.execs[exec_id]
    raise NotFound(f"No such exec instance: {exec_id}")


def _check_running(container: Container, ref: str) -> None:
    if container.state.status == "paused":
        raise Conflict(f"container {ref} is paused, unpause the container before exec")
    if container.state.status == "restarting":
        raise Conflict(f"container {ref} is restarting, wait until the container is running")
    if not container.running:
        raise Conflict(f"container {container.id} is not running")


def _words(body: ExecCreate) -> str:
    return " ".join(body.cmd or [])
