"""`DELETE /containers/{id}`: the name is free when the answer goes out, directories and cgroups go behind it."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orlop.engine.containers import events, pause, places, stop
from orlop.engine.containers.registry import Container
from orlop.engine.volumes.remove import remove as remove_volume
from orlop.errors import Conflict, Error, InvalidArgument
from orlop.linux import cgroup
from orlop.model.record import ContainerRecord, Status

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["remove", "remove_gone"]

log = logging.getLogger(__name__)


async def remove(engine: Engine, ref: str, *, volumes: bool = False, link: bool = False, force: bool = False) -> None:
    """Remove a container; `force` kills it first, `volumes` takes its anonymous volumes with it."""
    container = engine.containers.resolve(ref)
    if link:
        raise InvalidArgument(
            f"cannot remove link {ref}: legacy links are names in /etc/hosts and go with their container"
        )
    if container.state.status == "removing":
        raise Conflict(f"removal of container {ref} is already in progress")
    if not force:
        _check_stopped(container)
    elif container.running and container.lock.locked():
        with suppress(Conflict):  # it has just ended
            await stop.kill(engine, container.id)  # a stop waits for the container's good will; we do not
    async with engine.containers.locked(container.id):
        if container.running or container.state.status == "restarting":
            if not force:
                _check_stopped(container)
            await _end(engine, container)
        await container.settled.wait()
        await _delete(engine, container, volumes)


async def remove_gone(engine: Engine, container: Container) -> None:
    """Remove a container that ended and was started with `--rm`."""
    async with container.lock:
        if container.gone or container.running:
            return
        await _delete(engine, container, volumes=True)


def _check_stopped(container: Container) -> None:
    status = container.state.status
    if status not in ("running", "paused", "restarting"):
        return
    how = "stop the container before removing or force remove"
    if status == "paused":
        how = "unpause and then " + how
    raise Conflict(f'cannot remove container "/{container.name}": container is {status}: {how}')


async def _end(engine: Engine, container: Container) -> None:
    """Kill a container; from here on its state is "removing", unless it does not die."""
    container.cancel_restart()
    if container.state.status == "paused":
        await pause.thaw(engine, container)
    if container.task is None:
        return
    engine.containers.note_state(container, status="removing")
    try:
        await stop.stop_locked(engine, container, 0, signal.SIGKILL)
    except Error:
        if container.task is not None:
            engine.containers.note_state(container, status="running")
        raise


async def _delete(engine: Engine, container: Container, volumes: bool) -> None:
    before = container.state.status
    container.record = _with_status(container.record, "removing")
    try:
        await engine.containers.remove(container)
    except Error:
        container.record = _with_status(container.record, "exited" if before == "removing" else before)
        raise
    engine.parking.drop(container.id)
    container.tell_removal()
    events.publish(engine, container, "destroy")
    engine.spawn(_clean(engine, container), f"clean-up of {container.id[:12]}")
    if volumes:
        await _remove_volumes(engine, container)


def _with_status(record: ContainerRecord, status: Status) -> ContainerRecord:
    return msgspec.structs.replace(record, state=msgspec.structs.replace(record.state, status=status))


async def _clean(engine: Engine, container: Container) -> None:
    """Remove what the container leaves behind; what fails is found again when the next engine opens."""
    try:
        await asyncio.to_thread(cgroup.open_cgroup(engine.cgroup_path(container.record)).remove)
    except OSError as error:
        log.warning("the cgroup of container %s stays: %s", container.id[:12], error)
    await asyncio.to_thread(shutil.rmtree, Path(places.run_dir(engine, container.id)), True)
    await asyncio.to_thread(engine.snapshots.remove, container.id)
    await engine.release_images()


async def _remove_volumes(engine: Engine, container: Container) -> None:
    for mount in container.record.mounts:
        if mount.type != "volume" or not mount.from_image:
            continue
        try:
            await remove_volume(engine, mount.name, force=True)
        except Error as error:
            log.info("volume %s stays: %s", mount.name, error)
