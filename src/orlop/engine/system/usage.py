"""`GET /system/df`: what takes space on the disk, and what of it is in use.

All figures are bytes that are allocated on the disk, so that they add up to what du(1) says of the data root. A
container counts with its log and files, an image with its blobs and its unpacked layers.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from orlop.engine.builds.usage import cache_usage, only_cached
from orlop.engine.containers.list import list_containers
from orlop.engine.images.list import list_images
from orlop.engine.volumes.inspect import volume_json
from orlop.engine.volumes.users import references
from orlop.formats.filters import Filters
from orlop.image.usage import image_usage
from orlop.linux.tree import measure
from orlop.volume.device import needs_mount

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["KINDS", "usage"]

Json = dict[str, Any]

KINDS = {"container": "Containers", "image": "Images", "volume": "Volumes", "build-cache": "BuildCache"}
"""The kinds of objects that can be asked for, each with its field in the answer."""

_PARTS = {
    "content": "Content",
    "layers": "Layers",
    "containers": "Containers",
    "volumes": "Volumes",
    "build": "Builds",
    "tmp": "Temporary",
}


async def usage(engine: Engine, kinds: Collection[str] = ()) -> Json:
    """Return the objects of `kinds`, of all when none is named, with their sizes; None for the others.

    What images share is counted once in ``LayersSize``, and what only the build cache keeps is no part of it. Of all
    kinds there is the data root's own account, too: ``DataRoot`` has the bytes of each of its parts, ``Temporary``
    being what comes in, and what was removed and is not gone yet.
    """
    wanted = kinds or KINDS.keys()
    parts = await asyncio.to_thread(_parts, engine)
    cached = await asyncio.to_thread(only_cached, engine)
    answer: Json = {
        "LayersSize": parts["Content"] + parts["Layers"] - cached if "image" in wanted else 0,
        "Images": await _images(engine) if "image" in wanted else None,
        "Containers": await _containers(engine) if "container" in wanted else None,
        "Volumes": await _volumes(engine) if "volume" in wanted else None,
        "BuildCache": await cache_usage(engine) if "build-cache" in wanted else None,
    }
    return answer if kinds else answer | {"DataRoot": parts}


async def _images(engine: Engine) -> list[Json]:
    images = await list_images(engine, all=True)
    used = Counter(container.record.image_id for container in engine.containers)
    sizes = await asyncio.to_thread(image_usage, engine.images.depot, engine.images.records())
    shown = []
    for image in images:
        if size := sizes.get(image["Id"]):
            count = used[image["Id"]]
            shown.append(image | {"Containers": count, "Size": size.size, "SharedSize": size.shared})
    return shown


async def _containers(engine: Engine) -> list[Json]:
    images = {record.id: record.size for record in engine.images.records()}
    shown = await list_containers(engine, all=True, limit=0, size=False, filters=Filters())
    for summary in shown:
        size = await asyncio.to_thread(engine.snapshots.allocated, summary["Id"])
        summary |= {"SizeRw": size, "SizeRootFs": size + images.get(summary["ImageID"], 0)}
    return shown


async def _volumes(engine: Engine) -> list[Json]:
    used = references(engine)
    shown = []
    for record in engine.volumes.list():
        size = 0  # of what lies elsewhere and is only mounted
        if not needs_mount(record.options):
            size = (await asyncio.to_thread(measure, engine.volumes.path(record))).allocated
        shown.append(volume_json(engine, record) | {"UsageData": {"RefCount": used[record.name], "Size": size}})
    return shown


def _parts(engine: Engine) -> dict[str, int]:
    """Return the bytes of each part of the data root, and of all."""
    parts = dict.fromkeys((*_PARTS.values(), "Metadata"), 0)
    root = engine.config.data_root
    seen: set[tuple[int, int]] = set()  # what is downloaded may be a partial blob and a blob, by a hard link
    with os.scandir(root) as found:
        for entry in sorted(found, key=lambda entry: entry.name):
            if entry.name == "layers":
                size = engine.images.layers.allocated_by_all()
            elif entry.is_dir(follow_symlinks=False):
                size = measure(entry.path, seen).allocated
            else:
                size = entry.stat(follow_symlinks=False).st_blocks * 512
            parts[_PARTS.get(entry.name, "Metadata")] += size
    parts["Total"] = sum(parts.values()) + root.stat().st_blocks * 512
    return parts
