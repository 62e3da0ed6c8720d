"""From what a step has written to a layer, in a thread that can be told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

import msgspec

from orlop.build.worker import FileSystem
from orlop.errors import Conflict
from orlop.formats.identity import chain_ids
from orlop.formats.tar.output import Write
from orlop.image.assembly import extract
from orlop.image.compression import Compression
from orlop.image.depot import Depot
from orlop.image.intake import LayerIntake
from orlop.image.layer_tar import opened
from orlop.image.layers import chain_name, diff_name
from orlop.image.leases import Lease
from orlop.image.unpack import Limits
from orlop.model.record import LayerRecord, Rootfs

__all__ = ["read_layer", "write_layer"]


def read_layer(
    depot: Depot,
    lease: Lease,
    base: FileSystem,
    rootfs: Rootfs,
    mount_points: Collection[str],
    stopped: threading.Event,
    epoch: int | None = None,
) -> LayerRecord:
    """Make the layer of an upper directory; it is in place, and held by the lease, when this returns.

    Where nothing has changed the layer is an empty one. Raises `OSError`, and `Conflict` for what no layer can hold or
    when it was told to stop.
    """
    with opened(rootfs, mount_points, stopped.is_set, latest=epoch) as layer:
        return write_layer(depot, lease, base, layer.write, stopped.is_set)


def write_layer(
    depot: Depot, lease: Lease, base: FileSystem, feed: Callable[[Write], None], stopped: Callable[[], bool]
) -> LayerRecord:
    intake = LayerIntake(depot, lease, Compression.NONE, None, Limits())

    def write(block: bytes) -> None:
        if stopped():
            raise Conflict("the build was cancelled")
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
