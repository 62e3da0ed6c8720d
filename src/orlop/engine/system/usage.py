"""`GET /system/df`: what takes space on the disk, and what of it is in use."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from orlop.engine.containers.list import list_containers
from orlop.engine.images.list import list_images
from orlop.engine.volumes.inspect import volume_json
from orlop.engine.volumes.users import references
from orlop.formats.filters import Filters
from orlop.volume.usage import directory_size

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["layers_size", "usage"]

Json = dict[str, Any]


async def usage(engine: Engine) -> Json:
    """Return images, containers and volumes with their sizes. A layer that images share is counted once."""
    images = await list_images(engine, all=True, filters=Filters(), shared_size=True, digests=False, manifests=False)
    used = Counter(container.record.image_id for container in engine.containers)
    images = [image | {"Containers": used[image["Id"]]} for image in images]
    containers = await list_containers(engine, all=True, limit=0, size=True, filters=Filters())
    return {
        "LayersSize": layers_size(engine),
        "Images": images,
        "Containers": containers,
        "Volumes": await _volumes(engine),
        "BuildCache": [],
    }


def layers_size(engine: Engine) -> int:
    """Return the bytes of all unpacked layers, each counted once."""
    layers = {layer.diff_id: layer.unpacked_size for image in engine.images for layer in image.layers}
    return sum(layers.values())


async def _volumes(engine: Engine) -> list[Json]:
    used = references(engine)
    shown = []
    for record in engine.volumes.list():
        size = await asyncio.to_thread(directory_size, engine.volumes.path(record))
        shown.append(volume_json(engine, record) | {"UsageData": {"RefCount": used[record.name], "Size": size}})
    return shown
