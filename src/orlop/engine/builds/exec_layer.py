"""From what a step has written to a layer, in a thread that can be told to stop."""

from __future__ import annotations

import threading
from collections.abc import Collection

from orlop.build.layer import write_layer
from orlop.build.worker import FileSystem
from orlop.errors import Conflict
from orlop.image.depot import Depot
from orlop.image.layer_tar import opened
from orlop.image.leases import Lease
from orlop.model.record import LayerRecord, Rootfs

__all__ = ["read_layer"]


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

    Where nothing has changed the layer is an empty one. No file in it is younger than `epoch` (seconds). Raises
    `OSError`, and `Conflict` for what no layer can hold or when it was told to stop.
    """

    def check() -> None:
        if stopped.is_set():
            raise Conflict("the build was cancelled")

    with opened(rootfs, mount_points, stopped.is_set, latest=epoch) as layer:
        return write_layer(depot, lease, base, layer.write, check)
