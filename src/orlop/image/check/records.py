"""Records: do an image's configuration and manifest say the same as its record?"""

from __future__ import annotations

from collections.abc import Iterator

from orlop.errors import InvalidArgument, NotFound
from orlop.formats.digest import Digest
from orlop.image.check.blobs import PULL_AGAIN
from orlop.image.check.problem import Problem
from orlop.image.config import parse_config
from orlop.image.content import Content
from orlop.model.oci.documents import Manifest, parse
from orlop.model.record import ImageRecord

__all__ = ["check_record"]


def check_record(content: Content, record: ImageRecord) -> list[Problem]:
    """Return what contradicts a record. Whether a blob is there, and is what it was, is for `check_blob`."""
    messages = (*_configuration(content, record), *_manifest(content, record), *_sizes(content, record))
    return [Problem("image", record.id, message, remedy=PULL_AGAIN) for message in messages]


def _configuration(content: Content, record: ImageRecord) -> Iterator[str]:
    try:
        config = parse_config(content.read(Digest.parse(record.id)))
    except (NotFound, InvalidArgument, OSError):
        return
    if tuple(config.rootfs.diff_ids) != tuple(layer.diff_id for layer in record.layers):
        yield "its configuration names other layers than its record"


def _manifest(content: Content, record: ImageRecord) -> Iterator[str]:
    if not record.manifest:
        return
    try:
        document = parse(content.read(Digest.parse(record.manifest)))
    except (NotFound, InvalidArgument, OSError):
        return
    if not isinstance(document, Manifest) or document.config.digest != record.id:
        yield f"its manifest {record.manifest} is that of another image"


def _sizes(content: Content, record: ImageRecord) -> Iterator[str]:
    for layer in record.layers:
        try:
            size = content.size(Digest.parse(layer.blob)) if layer.blob else 0
        except (NotFound, InvalidArgument):
            continue
        if size != layer.size:
            yield f"blob {layer.blob} of layer {layer.diff_id} has {size} bytes, the record says {layer.size}"
