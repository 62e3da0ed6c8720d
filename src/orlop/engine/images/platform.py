"""The platform of an image, and the manifest that it came with: what multi-platform stores have many of.

An image here is for one platform. So is its manifest, which is kept of those that came from a registry.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from orlop.errors import Error, NotFound
from orlop.formats import platform as platforms
from orlop.formats.digest import Digest
from orlop.formats.platform import Platform
from orlop.model.oci.documents import parse
from orlop.model.record import ImageRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["descriptor", "manifests", "resolve"]

Json = dict[str, Any]


def resolve(engine: Engine, name: str, platform: str = "") -> ImageRecord:
    """Return the image `name`. Raises `NotFound` if there is none, or none for `platform` (JSON)."""
    record = engine.images.resolve(name)
    if platform:
        wanted = platforms.parse_json(platform)
        own = Platform(record.os, record.architecture, record.variant)
        if platforms.choose(wanted, [own]) is None:
            raise NotFound(
                f"image with reference {name} was found but its platform ({platforms.normalize(own)}) "
                f"does not match the specified platform ({wanted})"
            )
    return record


def descriptor(engine: Engine, record: ImageRecord) -> Json | None:
    """Return the descriptor of an image's manifest, None if it came without one, or that is lost. Reads the disk."""
    if not record.manifest:
        return None
    try:
        data = engine.images.content.read(Digest.parse(record.manifest))
        return {"mediaType": parse(data).media_type, "digest": record.manifest, "size": len(data)}
    except Error:
        return None


def manifests(engine: Engine, records: list[ImageRecord]) -> dict[str, list[Json]]:
    """Return the ``Manifests`` of images by their ids: one or none each. Reads the disk."""
    used: dict[str, list[str]] = {}
    for container in engine.containers:
        used.setdefault(container.record.image_id, []).append(container.id)
    return {record.id: _manifests(engine, record, used.get(record.id, [])) for record in records}


def _manifests(engine: Engine, record: ImageRecord, containers: list[str]) -> list[Json]:
    described = descriptor(engine, record)
    if described is None:
        return []
    content = described["size"] + sum(layer.size for layer in record.layers)
    with suppress(NotFound):  # what is lost takes nothing
        content += engine.images.content.size(Digest.parse(record.id))
    fields = {"architecture": record.architecture, "os": record.os, "variant": record.variant}
    own = {key: value for key, value in fields.items() if value}
    return [
        {
            "ID": record.manifest,
            "Descriptor": described | {"platform": own},
            "Available": True,
            "Size": {"Content": content, "Total": content + record.size},
            "Kind": "image",
            "ImageData": {"Platform": own, "Containers": containers or None, "Size": {"Unpacked": record.size}},
        }
    ]
