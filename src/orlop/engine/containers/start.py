"""`POST /containers/{id}/start`: network, files, specification, launch; whatever fails is taken back in reverse."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import msgspec

from orlop.engine.containers import events, exit, files, links, networking, remove, specification
from orlop.engine.containers.registry import Container
from orlop.errors import Conflict, Error, Internal, NotModified, StartFailed
from orlop.formats.units import parse_decimal_size
from orlop.linux import proc
from orlop.model.api.container import LogConfig
from orlop.model.record import ContainerState
from orlop.runtime.runtime import Launch, LogTarget, Stdio, Task

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["log_target", "run_dir", "start", "start_locked"]

# The journal is bounded where the user says nothing: 5 files of 20 MiB.
LOG_FILE_SIZE = 20 << 20
LOG_FILES = 5


async def start(engine: Engine, ref: str, *, detach_keys: str = "") -> None:
    """Start a container. Raises `NotModified` when it runs, `StartFailed` when its program cannot be executed."""
    container = engine.containers.resolve(ref)
    async with container.lock:
        _check(container)
        if container.restart:
            container.restart.cancel()
            container.restart = None
        container.restart_delay = 0.1
        container.record = msgspec.structs.replace(container.record, stopped_by_user=False, restart_count=0)
        await start_locked(engine, container)


def _check(container: Container) -> None:
    status = container.state.status
    if status == "paused":
        raise Conflict("cannot start a paused container, try unpause instead")
    if status == "running":
        raise NotModified("container is already running")
    if status in ("removing", "dead"):
        raise Conflict("container is marked for removal and cannot be started")


async def start_locked(engine: Engine, container: Container) -> None:
    """Start a container whose lock the caller holds and which does not run."""
    container.exited.clear()
    try:
        async with AsyncExitStack() as undo:
            undo.callback(setattr, container, "task", None)
            undo.push_async_callback(networking.release, engine, container)
            task = await _launch(engine, container, undo)
            undo.pop_all()
    except BaseException as error:
        container.exited.set()
        await _failed(engine, container, error)
        raise
    _started(engine, container, task)


async def _launch(engine: Engine, container: Container, undo: AsyncExitStack) -> Task:
    record = container.record
    for kind, ref in networking.joined(record.host_config):
        networking.running_target(engine, kind, ref)
    await networking.allocate(engine, container)
    endpoints = (container.endpoint.record,) if container.endpoint else ()
    state = msgspec.structs.replace(container.state, starting=True, error="")
    await engine.containers.save(container, durable=False, state=state, endpoints=endpoints)
    record = container.record
    specification.check_mount_sources(record)
    files.write(engine, container)
    context = specification.context(engine, container)
    spec = specification.build(container, context, links.environment(engine, record))
    container.seccomp, container.seccomp_known = specification.seccomp(spec), True
    image = engine.images.get(record.image_id)
    with engine.snapshots.claim(record.id):
        rootfs = engine.snapshots.prepare(record.id, image)
        launch = Launch(
            id=record.id,
            spec=spec,
            rootfs=rootfs,
            run_dir=run_dir(engine, record.id),
            log=log_target(engine, record.id, record.host_config.log_config),
            stdio=Stdio(
                tty=record.config.tty,
                stdin=record.config.open_stdin,
                stdin_once=record.config.stdin_once,
                size=_console_size(record.host_config.console_size),
            ),
            seccomp=container.seccomp,
            network=container.endpoint is not None,
            attaches=engine.parking.take(record.id),
            port_fds=tuple(sock.fileno() for sock in container.endpoint.sockets) if container.endpoint else (),
        )
        return await engine.runtime.launch(launch)


def _started(engine: Engine, container: Container, task: Task) -> None:
    state = ContainerState(
        status="running",
        pid=task.pid,
        shim_pid=task.shim_pid,
        boot_id=proc.boot_id(),
        started_at=task.started_at or time.time_ns(),
        finished_at=container.state.finished_at,
    )
    container.task = task
    endpoints = (container.endpoint.record,) if container.endpoint else ()
    engine.containers.note(container, state=state, endpoints=endpoints)
    events.publish(engine, container, "start")
    exit.follow(engine, container, task)


async def _failed(engine: Engine, container: Container, error: BaseException) -> None:
    code = error.exit_code if isinstance(error, StartFailed) else 128
    state = msgspec.structs.replace(
        container.state,
        status="exited" if container.state.started_at else "created",
        starting=False,
        pid=0,
        exit_code=code,
        error=str(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}",
    )
    await engine.containers.save(container, durable=False, state=state, endpoints=())
    container.tell_exit()
    if container.record.host_config.auto_remove:
        engine.spawn(remove.remove_gone(engine, container), f"remove {container.id[:12]}")


def log_target(engine: Engine, container_id: str, config: LogConfig) -> LogTarget:
    """Return where a container's journal goes; `max-size` and `max-file` are Docker's options of that name."""
    if config.type == "none":
        return LogTarget(None)
    options = config.config or {}
    size, files_kept = options.get("max-size"), options.get("max-file")
    return LogTarget(
        directory=str(engine.directory(container_id) / "log"),
        max_bytes=parse_decimal_size(size) if size and size != "-1" else LOG_FILE_SIZE,
        max_files=int(files_kept) if files_kept else LOG_FILES,
    )


def run_dir(engine: Engine, container_id: str) -> str:
    """Return the directory of a running container: its shim's socket, its state and its exit status."""
    return str(engine.config.exec_root / "c" / container_id[:12])


def _console_size(size: list[int]) -> tuple[int, int]:
    if len(size) != 2:
        raise Internal(f"console size {size}")
    return size[0], size[1]
