"""`POST /containers/{id}/rename`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.containers import events
from orlop.errors import InvalidArgument
from orlop.formats import identity

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["rename"]


async def rename(engine: Engine, ref: str, new_name: str) -> None:
    """Give a container another name. Raises `Conflict` when it is taken."""
    new_name = new_name.removeprefix("/")
    if not new_name:
        raise InvalidArgument("Neither old nor new names may be empty")
    identity.check_container_name(new_name)
    async with engine.containers.locked(ref) as container:
        old = container.name
        if new_name == old:
            raise InvalidArgument("Renaming a container with the same name as its current name")
        await engine.containers.rename(container, new_name)
    events.publish(engine, container, "rename", oldName=f"/{old}")
