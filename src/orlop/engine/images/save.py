"""`GET /images/get` and `GET /images/{name}/get`: images as an archive (`docker save`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from orlop.engine.images.attributes import publish
from orlop.errors import InvalidArgument, NotFound
from orlop.formats import reference
from orlop.formats.digest import Digest
from orlop.formats.identity import is_id
from orlop.formats.platform import Platform, choose, normalize, parse_json
from orlop.formats.reference import Reference
from orlop.image.archive.save import Chosen, SavePlan, plan, write_archive
from orlop.image.leases import Lease
from orlop.image.outlet import flow
from orlop.image.plain import check_blob, plain_size
from orlop.model.record import ImageRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["save"]


async def save(engine: Engine, names: Sequence[str], *, platform: str = "") -> AsyncGenerator[bytes, None]:
    """Yield the archive of the images that `names` mean.

    A name without a tag means all tags of its repository; an image that is named by its id is saved without names.
    `platform` is the JSON of the platform that they must be for. Raises `NotFound`, `InvalidArgument` and `Internal`,
    before the first block if the fault can be known then; an error after that means that there is no archive.
    """
    chosen = _choose(engine, names)
    if platform:
        wanted = parse_json(platform)
        for image_id in chosen:
            _check_platform(engine.images.get(image_id), wanted)
    lease = engine.images.lease()
    try:
        archive = await asyncio.to_thread(_plan, engine, lease, chosen)
        content = engine.images.content
        blocks = flow(lambda write: write_archive(archive, content, write), "image-save")
        async with aclosing(blocks):
            async for block in blocks:
                yield block
        for image_id in chosen:
            publish(engine, "save", image_id, image_id)
    finally:
        await asyncio.to_thread(lease.release)


def _choose(engine: Engine, names: Sequence[str]) -> dict[str, list[Reference]]:
    """Return the ids of the images, in the order of their names, each with the tags that it is saved with."""
    if not names:
        raise InvalidArgument("no image names were given")
    chosen: dict[str, list[Reference]] = {}
    for text in names:
        for image_id, tag in _meant(engine, text):
            tags = chosen.setdefault(image_id, [])
            if tag is not None and tag not in tags:
                tags.append(tag)
    return {image_id: sorted(tags) for image_id, tags in chosen.items()}


def _meant(engine: Engine, text: str) -> list[tuple[str, Reference | None]]:
    """Return the images that one name means, each with its tag. Raises `NotFound`."""
    images = engine.images
    if _is_id(text):
        return [(images.resolve(text).id, None)]
    name = reference.parse(text)
    if name.familiar_name == "sha256":
        return [(images.resolve(text).id, None)]
    if name.digest is not None or name.tag:
        image_id = images.lookup(name)
        if image_id is None:
            raise NotFound("reference does not exist")
        return [(image_id, name if name.digest is None else None)]
    found = [
        (image_id, tag if tag.digest is None else None)
        for image_id, tags in images.references_by_image().items()
        for tag in tags
        if tag.name == name.name
    ]
    if found:
        return found
    try:
        return [(images.resolve(text).id, None)]
    except NotFound:
        raise NotFound(f"No such image: {text}") from None


def _is_id(text: str) -> bool:
    """Tell whether `text` is a whole id, with its algorithm or without."""
    if is_id(text):
        return True
    try:
        Digest.parse(text)
    except InvalidArgument:
        return False
    return True


def _check_platform(record: ImageRecord, wanted: Platform) -> None:
    platform = normalize(Platform(record.os, record.architecture, record.variant))
    if choose(wanted, [platform]) is None:
        raise NotFound(f"no suitable export target found for platform {wanted}")


def _plan(engine: Engine, lease: Lease, chosen: dict[str, list[Reference]]) -> SavePlan:
    """Hold what the images need, look whether it is there, and plan the archive."""
    images = []
    for image_id, tags in chosen.items():
        record = engine.images.get(image_id)
        lease.hold(image_id)
        layers = []
        for layer in record.layers:
            lease.hold(layer.blob)
            check_blob(engine.images.content, layer)
            size = plain_size(engine.images.content, layer)
            layers.append(msgspec.structs.replace(layer, tar_size=size))
        config = engine.images.content.read(Digest.parse(image_id))
        images.append(Chosen(image_id, config, tuple(layers), tuple(tags)))
    return plan(images)
