"""Which containers use a volume: the knowledge that the volume package does not have."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["references", "users"]


def users(engine: Engine, name: str) -> list[str]:
    """Return the ids of the containers, running or not, that have the volume among their mounts."""
    return [
        container.id
        for container in engine.containers
        if any(mount.type == "volume" and mount.name == name for mount in container.record.mounts)
    ]


def references(engine: Engine) -> Counter[str]:
    """Return for each volume in use how many containers use it."""
    counts: Counter[str] = Counter()
    for container in engine.containers:
        counts.update({mount.name for mount in container.record.mounts if mount.type == "volume"})
    return counts
