"""The plain tar of a layer: rebuilt, bit by bit, from the blob that is kept, and verified on the way."""

from __future__ import annotations

from orlop.errors import Internal, InvalidArgument, NotFound
from orlop.formats.digest import Digest
from orlop.formats.tar.output import Write
from orlop.image.compression import decompressed
from orlop.image.content import Content
from orlop.image.intake import compression_of
from orlop.model.record import LayerRecord

__all__ = ["check_blob", "plain_size", "write_plain"]

_READ = 1 << 20


def check_blob(content: Content, record: LayerRecord) -> None:
    """Raise `Internal` if the blob of a layer is not there in its length."""
    try:
        size = content.size(Digest.parse(record.blob))
    except (NotFound, InvalidArgument):
        raise Internal(f"the blob of layer {record.diff_id} is missing") from None
    if size != record.size:
        raise Internal(f"the blob of layer {record.diff_id} is damaged: it has {size} bytes, not {record.size}")


def write_plain(content: Content, record: LayerRecord, write: Write) -> int:
    """Give the tar to `write` and return its bytes. Raises `Internal`, at the end too, if it is not the layer's."""
    expected = Digest.parse(record.diff_id)
    hasher = Digest.hasher(expected.algorithm)
    size = 0
    try:
        with content.open(Digest.parse(record.blob)) as blob:
            read = decompressed(lambda: blob.read(_READ), compression_of(record.media_type))
            while block := read():
                hasher.update(block)
                size += len(block)
                write(bytes(block))
    except (InvalidArgument, NotFound) as error:
        raise Internal(f"the blob of layer {record.diff_id} is damaged: {error}") from None
    if hasher.hexdigest() != expected.hex:
        raise Internal(f"the blob of layer {record.diff_id} is damaged: its digest is another one")
    return size


def plain_size(content: Content, record: LayerRecord) -> int:
    """Return the bytes of the tar; if they were not noted, by rebuilding it. Raises `Internal`."""
    return record.tar_size or write_plain(content, record, lambda _: None)
