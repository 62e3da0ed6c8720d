"""Starting again what should be running when an engine opens: whose namespaces others join, or are linked to, first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from orlop.engine.containers import exit, links, networking, remove, start
from orlop.engine.containers.registry import Container
from orlop.errors import Error

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["circles", "restart_wanted"]

log = logging.getLogger(__name__)

NOT_STARTED = 128  # the exit code of a container whose start failed before there was a program


def restart_wanted(engine: Engine) -> None:
    """Start what should be running: begun restarts, `always` and `unless-stopped`; finish `--rm`.

    A container that needs others waits until their starts have been tried. Containers that need each other in a circle
    get an error each.
    """
    wanted = {}
    for container in engine.containers:
        if container.running:
            continue
        if _to_be_removed(container):
            engine.spawn(remove.remove_gone(engine, container), f"remove {container.id[:12]}")
        elif _to_be_started(container):
            wanted[container.id] = container
    needs = {container_id: _needs(engine, container) & wanted.keys() for container_id, container in wanted.items()}
    stuck = circles(needs)
    tried = {container_id: asyncio.Event() for container_id in wanted}
    for container_id, container in wanted.items():
        if container_id in stuck:
            _refuse(engine, container, [wanted[other].name for other in _reached(container_id, needs) & stuck])
            tried[container_id].set()
        else:
            before = [tried[needed] for needed in needs[container_id]]
            engine.spawn(_try(engine, container, before, tried[container_id]), f"start of {container_id[:12]}")


def circles(needs: Mapping[str, Collection[str]]) -> set[str]:
    """Return the members of `needs` that need themselves, by whatever detour.

    >>> sorted(circles({"a": ["b"], "b": ["a"], "c": ["a"], "d": []}))
    ['a', 'b']
    """
    left = dict(needs)
    while free := [name for name, needed in left.items() if not any(other in left for other in needed)]:
        for name in free:
            del left[name]
    return {name for name in left if name in _reached(name, left)}


def _reached(start: str, needs: Mapping[str, Collection[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = [name for name in needs.get(waiting.pop(), ()) if name not in found]
        found.update(new)
        waiting += new
    return found


def _to_be_removed(container: Container) -> bool:
    state = container.state
    if state.status == "removing":
        return True
    return container.record.host_config.auto_remove and bool(state.finished_at or state.status == "exited")


def _to_be_started(container: Container) -> bool:
    policy = container.record.host_config.restart_policy.name
    if container.state.status == "restarting":
        return True
    if not container.state.started_at:
        return False
    return policy == "always" or (policy == "unless-stopped" and not container.record.stopped_by_user)


def _needs(engine: Engine, container: Container) -> set[str]:
    """Return the ids of the containers that have to run before this one. One that is missing its start will tell."""
    refs = [ref for _, ref in networking.joined(container.record.host_config)]
    refs += links.targets(container.record.host_config)
    found = set()
    for ref in refs:
        try:
            found.add(engine.containers.resolve(ref).id)
        except Error:
            continue
    return found


async def _try(engine: Engine, container: Container, before: list[asyncio.Event], tried: asyncio.Event) -> None:
    try:
        for event in before:
            await event.wait()
        if container.state.status == "restarting":
            await exit.restart(engine, container)
        else:
            await _start(engine, container)
    finally:
        tried.set()


async def _start(engine: Engine, container: Container) -> None:
    async with container.lock:
        if container.gone or container.running or engine.closing:
            return
        try:
            await start.start_locked(engine, container)
        except Error as error:
            log.warning("container %s could not be started again: %s", container.id[:12], error)


def _refuse(engine: Engine, container: Container, names: list[str]) -> None:
    error = f"cannot start: containers that join or are linked to each other in a circle: {', '.join(sorted(names))}"
    log.error("container %s: %s", container.id[:12], error)
    engine.containers.note_state(container, status="exited", exit_code=NOT_STARTED, error=error)
