"""Volume events: what `docker events` shows of a volume's life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.model.record import MountRecord, VolumeRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["publish", "publish_mount"]


def publish(engine: Engine, record: VolumeRecord, action: str) -> None:
    """Publish that a volume was created or destroyed."""
    engine.events.publish("volume", action, record.name, {"driver": record.driver})


def publish_mount(engine: Engine, mount: MountRecord, action: str, container_id: str) -> None:
    """Publish that a volume was mounted in a container (``mount``) or is not any more (``unmount``)."""
    attributes = {"container": container_id, "driver": mount.driver}
    if action == "mount":
        attributes |= {
            "destination": mount.destination,
            "propagation": mount.propagation,
            "read/write": "true" if mount.rw else "false",
        }
    engine.events.publish("volume", action, mount.name, attributes)
