"""`DELETE /volumes/{name}`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.volumes import events
from orlop.engine.volumes.users import users
from orlop.errors import Conflict

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["remove"]


async def remove(engine: Engine, name: str, force: bool = False) -> None:
    """Remove a volume that no container has; `force` does not mind that there is none.

    Raises `NotFound` and `Conflict` ("remove x: volume is in use - [ids]").
    """
    if not engine.volumes.exists(name):
        if force:
            return
        engine.volumes.get(name)
    using = users(engine, name)
    if using:
        raise Conflict(f"remove {name}: volume is in use - [{', '.join(using)}]")
    record = engine.volumes.get(name)
    await engine.volumes.remove(name, force)
    events.publish(engine, record, "destroy")
