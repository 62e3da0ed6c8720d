"""`POST /containers/{id}/update`: other limits, another restart policy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from orlop.engine.containers import events
from orlop.errors import Conflict, Internal
from orlop.linux import cgroup
from orlop.model.api.container import ContainerUpdate, HostConfig, Resources
from orlop.runtime import resources, validate

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["update"]


async def update(engine: Engine, ref: str, body: ContainerUpdate) -> list[str]:
    """Change limits, at once where the container runs; return warnings. What is refused changes nothing."""
    async with engine.containers.locked(ref) as container:
        if container.state.status in ("removing", "dead"):
            raise Conflict(
                f"Cannot update container {container.id}: container is marked for removal and cannot be updated"
            )
        warnings = validate.validate_update(container.record, body, engine.facts)
        host = merged(container.record.host_config, body)
        if container.running:
            wanted = resources.for_update(host, engine.facts)
            group = cgroup.open_cgroup(engine.cgroup_path(container.record))
            try:
                await asyncio.to_thread(group.update, wanted)
            except OSError as error:
                raise Internal(f"Cannot update container {container.id}: {error.strerror}: {error.filename}") from error
        await engine.containers.save(container, host_config=host)
    events.publish(engine, container, "update")
    return warnings


def merged(host: HostConfig, body: ContainerUpdate) -> HostConfig:
    """Return `host` with every limit that `body` names: zero values name nothing."""
    changes = {}
    for name in Resources.__struct_fields__:
        value = getattr(body, name)
        if value not in (0, "", None, []):
            changes[name] = value
    if body.pids_limit is not None:
        changes["pids_limit"] = body.pids_limit  # here 0 names something: no limit
    if body.cpu_quota or body.cpu_period:
        changes.setdefault("nano_cpus", 0)
    if body.nano_cpus:
        changes |= {"cpu_quota": 0, "cpu_period": 0}
    if body.restart_policy and body.restart_policy.name:
        changes["restart_policy"] = body.restart_policy
    return msgspec.structs.replace(host, **changes)
