"""The form in which layers go to registries: gzip, which every client reads.

A layer that came as a plain tar is kept as zstd, because that is quick; one that came as bzip2 or xz as it came.
Before such a layer is pushed it is compressed anew, always to the same bytes, and from then on kept in that form
alone: its tar can be rebuilt of it as well, and another push finds it ready.
"""

from __future__ import annotations

import os
import threading

import msgspec
from isal import isal_zlib

from orlop.formats.digest import Digest
from orlop.image.compression import Compression
from orlop.image.content import Content
from orlop.image.depot import Depot
from orlop.image.intake import compression_of, media_type
from orlop.image.leases import Lease
from orlop.image.plain import write_plain
from orlop.model.record import LayerRecord

__all__ = ["Stopped", "gzip_layer", "is_gzipped", "make_durable"]

_LEVEL = 2  # as quick as level 1 and smaller; 3 takes twice the time for 2 % less
_GZIP_WINDOW = 31  # 32 kB with a gzip header, which holds no name and no time


class Stopped(Exception):
    """Nobody wants the layer any more."""


def is_gzipped(record: LayerRecord) -> bool:
    """Tell whether a layer is kept in the form that registries get."""
    return compression_of(record.media_type) is Compression.GZIP


def gzip_layer(depot: Depot, lease: Lease, record: LayerRecord, stop: threading.Event) -> LayerRecord:
    """Compress a kept layer with gzip; return the record of the new blob, which `lease` holds and which is not durable.

    It ends with `Stopped` soon after `stop` is set. Raises `errors.Internal` if the kept blob is damaged.
    """
    compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP_WINDOW)
    with depot.content.ingest() as ingest:

        def write(block: bytes) -> None:
            if stop.is_set():
                raise Stopped
            ingest.write(compressor.compress(block))

        tar_size = write_plain(depot.content, record, write)
        ingest.write(compressor.flush())
        lease.hold(str(ingest.digest))
        digest = ingest.commit(durable=False)
        return msgspec.structs.replace(
            record, blob=str(digest), media_type=media_type(Compression.GZIP), size=ingest.size, tar_size=tar_size
        )


def make_durable(content: Content, digest: Digest) -> None:
    """Make a blob that was stored without it survive a power cut. Raises `NotFound`, `OSError`."""
    with content.open(digest) as blob:
        os.fsync(blob.fileno())
    content.sync_names()
