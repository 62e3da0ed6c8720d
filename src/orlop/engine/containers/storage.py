"""The volumes of a container that runs: held from its start to its end, so that what has a device is mounted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.containers.registry import Container

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["acquire", "hold", "release"]


async def acquire(engine: Engine, container: Container) -> None:
    """Have the volumes of a container that is being started mounted. Raises `Internal` and `NotFound`."""
    for name in _names(container):
        await engine.volumes.mount(name, container.id)


def hold(engine: Engine, container: Container) -> None:
    """Hold the volumes of a container that runs on since an earlier daemon."""
    for name in _names(container):
        engine.volumes.hold(name, container.id)


def release(engine: Engine, container: Container) -> None:
    """Let go of the volumes of a container that ended."""
    for name in _names(container):
        engine.volumes.release(name, container.id)


def _names(container: Container) -> list[str]:
    return [mount.name for mount in container.record.mounts if mount.type == "volume"]
