"""Rebuilding a blob of the layer that was unpacked from it: possible where Orlop itself wrote the layer.

A directory does not say how its tar was written. But what a commit wrote is written the same way again; and if the
tar has the layer's diff id and the frame the blob's digest, then both are what they were, bit by bit.
"""

from __future__ import annotations

from backports import zstd

from orlop.errors import Error
from orlop.formats.digest import Digest
from orlop.image.compression import Compression
from orlop.image.depot import Depot
from orlop.image.intake import ZSTD_LEVEL, media_type
from orlop.image.layer_tar import opened
from orlop.model.record import ImageRecord, Rootfs

__all__ = ["rebuild_blob"]


def rebuild_blob(depot: Depot, record: ImageRecord, blob: str) -> bool:
    """Put the sound `blob` of one of an image's layers in the place of a damaged one; False if it cannot be made."""
    index = next((index for index, layer in enumerate(record.layers) if layer.blob == blob), 0)
    if not index:
        return False  # it is no layer, or the lowest, which no commit made
    layer = record.layers[index]
    names = depot.layers.find([each.diff_id for each in record.layers])[: index + 1]
    if layer.media_type != media_type(Compression.NONE) or None in names:
        return False
    below = depot.layers.stack([name for name in names[:index] if name is not None])
    rootfs = Rootfs(lower=below, upper=str(depot.layers.path / str(names[index])), work="")
    try:
        return _written(depot, rootfs, Digest.parse(layer.diff_id), Digest.parse(blob))
    except (Error, OSError):
        return False


def _written(depot: Depot, rootfs: Rootfs, diff_id: Digest, blob: Digest) -> bool:
    hasher = Digest.hasher(diff_id.algorithm)
    compressor = zstd.ZstdCompressor(level=ZSTD_LEVEL)
    with depot.content.ingest(blob.algorithm) as ingest:

        def write(block: bytes) -> None:
            hasher.update(block)
            ingest.write(compressor.compress(block))

        with opened(rootfs, ()) as tar:
            tar.write(write)
        ingest.write(compressor.flush())
        if hasher.hexdigest() != diff_id.hex or ingest.digest != blob:
            return False
        depot.scratch.discard(depot.content.path(blob))
        ingest.commit(blob)
    return True
