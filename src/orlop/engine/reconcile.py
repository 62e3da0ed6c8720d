"""What a starting engine does with what it finds: containers that run, that ended meanwhile, and remains of a crash.

The order matters: running tasks are adopted first (their endpoints are then known to be live when the bridge is
opened), only then what belongs to nobody is removed.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orlop.engine.containers import events, exit, health, places, storage
from orlop.engine.containers.registry import Container
from orlop.errors import Unavailable
from orlop.linux import cgroup, proc
from orlop.runtime.runtime import Exit, Task

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["adopt", "sweep"]

log = logging.getLogger(__name__)

LOST = 255  # the exit code of a container whose end nobody saw, as dockerd gives after a reboot


async def adopt(engine: Engine) -> None:
    """Find out for every container that ran, or was about to, what became of it."""
    boot = proc.boot_id()
    candidates = [
        container
        for container in engine.containers
        if container.running or container.state.starting or container.state.status in ("restarting", "removing")
    ]
    await asyncio.gather(*(_adopt(engine, container, boot) for container in candidates))


async def _adopt(engine: Engine, container: Container, boot: str) -> None:
    try:
        found = await engine.runtime.adopt(container.id, places.run_dir(engine, container.id))
    except Unavailable as error:  # one that hangs must not keep us from all the others; `sweep` kills what it left
        log.error("container %s is given up: %s", container.id[:12], error)
        found = None
    if found is None or isinstance(found, Exit):
        await _ended(engine, container, found)
    else:
        await _runs(engine, container, found, boot)


async def _runs(engine: Engine, container: Container, task: Task, boot: str) -> None:
    frozen = await asyncio.to_thread(_frozen, engine.cgroup_path(container.record))
    was = container.state.status
    container.task = task
    storage.hold(engine, container)
    container.settled.clear()
    state = msgspec.structs.replace(
        container.state,
        status="paused" if frozen else "running",
        starting=False,
        pid=task.pid,
        shim_pid=task.shim_pid,
        boot_id=boot,
        started_at=task.started_at or container.state.started_at,
    )
    engine.containers.note(container, state=state)
    if {was, container.state.status} == {"running", "paused"}:
        events.publish(engine, container, "pause" if frozen else "unpause")
    if not frozen:
        health.begin(engine, container)
    log.info("container %s runs on, adopted", container.id[:12])


def _frozen(path: str) -> bool:
    """Say whether a container is frozen. A freeze that was cut off is brought to its end, or taken back."""
    group = cgroup.open_cgroup(path)
    if not group.frozen():
        return False
    try:
        group.freeze()
    except TimeoutError as error:
        log.warning("a pause that was cut off is taken back: %s", error)
        return False
    return True


async def _ended(engine: Engine, container: Container, found: Exit | None) -> None:
    """Record the end of a container that no daemon saw, and publish what follows an end, now that it is noticed."""
    state = container.state
    if found is None and state.starting:
        # Its start was cut off before a program ran: for the user it has not been started.
        again = exit.wants_restart(container, state.exit_code)
        status = ("restarting" if again else "exited") if state.started_at else "created"
        state = msgspec.structs.replace(state, status=status, starting=False, pid=0)
        container.record = msgspec.structs.replace(container.record, state=state)
        await exit.record(engine, container)
        return
    if state.status == "restarting" or (state.status == "removing" and not state.pid):
        return  # how it ended was recorded and published
    end = found or Exit(LOST, time.time_ns())
    ran = max(0, end.time - state.started_at)
    status = "restarting" if exit.wants_restart(container, end.code) else "exited"
    state = msgspec.structs.replace(
        state,
        status="removing" if state.status == "removing" else status,
        starting=False,
        pid=0,
        shim_pid=0,
        exit_code=end.code,
        oom_killed=end.oom_killed,
        error=end.error,
        finished_at=end.time,
    )
    container.record = msgspec.structs.replace(container.record, state=state)
    exit.publish(engine, container, end, ran)
    await exit.record(engine, container)
    log.info("container %s ended while no daemon ran: %d", container.id[:12], end.code)


async def sweep(engine: Engine) -> None:
    """Follow what runs on, and remove what a crash left: cgroups, directories, mounts of volumes."""
    for container in engine.containers:
        if container.task:
            engine.supervisor.follow(container, container.task)
    engine.volumes.settle()
    await asyncio.to_thread(_sweep_cgroups, engine)
    await asyncio.to_thread(_sweep_directories, engine)


def _sweep_cgroups(engine: Engine) -> None:
    """Kill and remove cgroups of this instance whose container does not run."""
    live = {container.id for container in engine.containers if container.task}
    parent = f"/orlop-{engine.instance}"
    for name in cgroup.sweep(parent):
        if name not in live:
            _end_cgroup(f"{parent}/{name}")
    for container in engine.containers:
        if container.record.host_config.cgroup_parent and container.id not in live:
            _end_cgroup(engine.cgroup_path(container.record))
    for path in (engine.config.data_root / "containers").iterdir():
        note = path / places.CGROUP_NOTE
        if engine.containers.get(path.name) is None and note.exists():
            _end_cgroup(note.read_text())


def _end_cgroup(path: str) -> None:
    group = cgroup.open_cgroup(path)
    try:
        if group.processes():
            log.warning("killing what is left in cgroup %s", path)
            group.kill()
        group.remove()
    except OSError as error:
        log.warning("cgroup %s stays: %s", path, error)


def _sweep_directories(engine: Engine) -> None:
    known = {container.id for container in engine.containers}
    containers = engine.config.data_root / "containers"
    for path in containers.iterdir():
        if path.name not in known:
            engine.snapshots.remove(path.name)
    running = {container.id[:12] for container in engine.containers if container.task}
    ended = {container.id[:12] for container in engine.containers} - running
    for path in Path(engine.config.exec_root / "c").iterdir():
        if path.name not in running:
            shutil.rmtree(path, ignore_errors=True)
            if path.name not in ended:
                log.info("removed %s, which belongs to no container", path)
