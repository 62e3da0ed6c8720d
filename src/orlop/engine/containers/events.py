"""Container events: what `docker events` shows of a container's life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.containers.registry import Container
from orlop.engine.volumes import events as volume_events

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["publish", "publish_network", "publish_volumes"]


def publish(engine: Engine, container: Container, action: str, **extra: str) -> None:
    """Publish `action` of `container`: its labels, image and name are the attributes, `extra` is added."""
    record = container.record
    attributes = {**(record.config.labels or {}), **extra, "image": record.config.image, "name": record.name}
    engine.events.publish("container", action, record.id, attributes)


def publish_network(engine: Engine, container: Container, action: str, network: str) -> None:
    """Publish that `container` was connected to or disconnected from `network`."""
    attributes = {"container": container.id, "name": network, "type": network if network != "none" else "null"}
    engine.events.publish("network", action, engine.network_id(network), attributes)


def publish_volumes(engine: Engine, container: Container, action: str) -> None:
    """Publish that the volumes of `container` were mounted (``mount``) or are not any more (``unmount``)."""
    for mount in container.record.mounts:
        if mount.type == "volume":
            volume_events.publish_mount(engine, mount, action, container.id)
