"""`POST /containers/{id}/start`: network, files, specification, launch; whatever fails is taken back in reverse."""

from __future__ import annotations

import logging
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import msgspec

from orlop.engine.containers import events, files, health, links, networking, places, remove, specification, storage
from orlop.engine.containers.registry import FIRST_RESTART_DELAY, Container
from orlop.errors import Conflict, Error, Internal, NotModified, StartFailed
from orlop.linux import proc
from orlop.model.record import ContainerState
from orlop.runtime.runtime import Launch, Stdio, Task

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["start", "start_locked"]

log = logging.getLogger(__name__)


async def start(engine: Engine, ref: str, *, detach_keys: str = "") -> None:
    """Start a container. Raises `NotModified` when it runs, `StartFailed` when its program cannot be executed."""
    async with engine.containers.locked(ref) as container:
        _check(container)
        await container.settled.wait()
        container.cancel_restart()
        container.restart_delay = FIRST_RESTART_DELAY
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
    """Start a container whose lock the caller holds and which does not run, with nothing left to do of its last run."""
    container.settled.clear()
    try:
        async with AsyncExitStack() as undo:
            undo.callback(setattr, container, "task", None)
            undo.push_async_callback(networking.release, engine, container)
            undo.callback(storage.release, engine, container)
            task = await _launch(engine, container, undo)
            undo.pop_all()
    except BaseException as error:
        container.settled.set()
        _failed(engine, container, error)
        raise
    _started(engine, container, task)
    await _join_late(engine, container, task)


async def _launch(engine: Engine, container: Container, undo: AsyncExitStack) -> Task:
    record = container.record
    for kind, ref in networking.joined(record.host_config):
        networking.running_target(engine, kind, ref)
    await networking.allocate(engine, container)
    endpoints = (container.endpoint.record,) if container.endpoint else ()
    state = msgspec.structs.replace(container.state, starting=True, error="")
    await engine.containers.save(container, durable=False, state=state, endpoints=endpoints)
    record = container.record
    await specification.check_mount_sources(record)
    await storage.acquire(engine, container)
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
            run_dir=places.run_dir(engine, record.id),
            log=places.log_target(engine, record.id, record.host_config.log_config),
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
    events.publish_volumes(engine, container, "mount")
    events.publish(engine, container, "start")
    engine.supervisor.follow(container, task)
    health.begin(engine, container)


async def _join_late(engine: Engine, container: Container, task: Task) -> None:
    """Hand on the clients that attached while the container was being started."""
    for attach in engine.parking.take(container.id):
        try:
            await task.attach(attach)
        except Error as error:
            log.info("a client came too late to container %s: %s", container.id[:12], error)


def _failed(engine: Engine, container: Container, error: BaseException) -> None:
    code = error.exit_code if isinstance(error, StartFailed) else 128
    state = msgspec.structs.replace(
        container.state,
        status="exited" if container.state.started_at else "created",
        starting=False,
        pid=0,
        exit_code=code,
        error=str(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}",
    )
    engine.containers.note(container, state=state, endpoints=())
    container.tell_exit()
    if container.record.host_config.auto_remove:
        engine.spawn(remove.remove_gone(engine, container), f"remove {container.id[:12]}")


def _console_size(size: list[int]) -> tuple[int, int]:
    if len(size) != 2:
        raise Internal(f"console size {size}")
    return size[0], size[1]
