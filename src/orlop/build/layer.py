"""A layer of a build: what makes it feeds a tar, which comes in as a loaded one does and finds its place at once.

Nothing is synced here: the end of the build does that, for all its layers.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from orlop.build.worker import FileSystem
from orlop.formats.identity import chain_ids
from orlop.formats.tar.output import Write
from orlop.image.assembly import extract
from orlop.image.compression import Compression
from orlop.image.depot import Depot
from orlop.image.intake import LayerIntake
from orlop.image.layers import chain_name, diff_name
from orlop.image.leases import Lease
from orlop.image.unpack import Limits
from orlop.model.record import LayerRecord

__all__ = ["write_layer"]


def write_layer(
    depot: Depot, lease: Lease, base: FileSystem, feed: Callable[[Write], None], check: Callable[[], None]
) -> LayerRecord:
    """Make the layer that `feed` writes; it is in place, and held by the lease, when this returns.

    `check` raises when the work is to end. Raises `Conflict`, `InvalidArgument` and `OSError`; then nothing is left.
    """
    intake = LayerIntake(depot, lease, Compression.NONE, None, Limits())

    def write(block: bytes) -> None:
        check()
        if intake.failed:
            intake.finish()
            intake.result()
        intake.feed(block)

    try:
        try:
            feed(write)
        finally:
            intake.finish()
        taken = intake.result()
        record, directory = taken.record, taken.directory
        below = depot.layers.names_of_chain(base, "the step's base")
        name = diff_name(record.diff_id)
        if not taken.alone:
            name = chain_name(chain_ids([*(layer.diff_id for layer in base), record.diff_id])[-1])
        lease.hold(name)
        if depot.layers.has(name):
            return record
        if directory is None:
            directory, unpacked = extract(depot, depot.layers.stack(below), record)
            record = msgspec.structs.replace(record, unpacked_size=unpacked.size)
        taken.directory = None
        depot.layers.add(directory, name)
        return record
    finally:
        intake.abandon()
