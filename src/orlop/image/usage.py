"""What images take on the disk: allocated bytes, as du(1) counts, and which of them other images need too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.image.collect import names_of
from orlop.image.depot import Depot
from orlop.model.record import ImageRecord

__all__ = ["ImageUsage", "allocated", "image_usage"]


@dataclass(frozen=True, slots=True)
class ImageUsage:
    """The bytes of an image's blobs and layers; `shared` are those that stay when it is deleted."""

    size: int
    shared: int


def image_usage(depot: Depot, records: Collection[ImageRecord]) -> dict[str, ImageUsage]:
    """Return what each of `records` takes; they are all that there are, deleted ones of containers too."""
    names = {record.id: names_of(record, depot.layers) for record in records}
    uses = Counter(name for needed in names.values() for name in needed)
    sizes = {name: allocated(depot, name) for name in uses}
    return {
        image_id: ImageUsage(
            size=sum(sizes[name] for name in needed),
            shared=sum(sizes[name] for name in needed if uses[name] > 1),
        )
        for image_id, needed in names.items()
    }


def allocated(depot: Depot, name: str) -> int:
    """Return the bytes on the disk of a blob (its digest) or a layer (its directory's name), 0 if it is not there."""
    if ":" not in name:
        return depot.layers.allocated(name)
    try:
        return depot.content.allocated(Digest.parse(name))
    except InvalidArgument:
        return 0
