"""Importing: a bare tree in a tar becomes an image of one layer (`docker import`)."""

from __future__ import annotations

import json
import time
from typing import Any

from orlop.formats.digest import Digest
from orlop.formats.duration import format_rfc3339
from orlop.formats.platform import Platform
from orlop.image.archive.load import make_record
from orlop.image.assembly import Assembly
from orlop.image.compression import MAGIC_LENGTH, Read, detect, peeked
from orlop.image.config import parse_config
from orlop.image.depot import Depot
from orlop.image.intake import LayerIntake
from orlop.image.leases import Lease
from orlop.image.unpack import Limits
from orlop.model.record import ImageRecord

__all__ = ["import_tree"]


def import_tree(
    read: Read,
    depot: Depot,
    lease: Lease,
    *,
    config: dict[str, Any],
    platform: Platform,
    message: str,
    limits: Limits | None = None,
) -> ImageRecord:
    """Make an image of the tree in a tar, compressed or not, in the calling thread; `config` is its ``config`` object.

    The blobs and the layer are in place then, held by `lease`. Raises `InvalidArgument` and `OSError`.
    """
    limits = limits or Limits()
    start, read = peeked(read, MAGIC_LENGTH)
    intake = LayerIntake(depot, lease, detect(start), None, limits)
    assembly = Assembly(depot, lease, limits)
    try:
        try:
            while block := read():
                intake.feed(block)
        finally:
            intake.finish()
        taken = intake.result()
        data = _configuration(taken.record.diff_id, config, platform, message)
        layers = assembly.place([taken.record.diff_id], [taken])
        digest = Digest.of(data)
        lease.hold(str(digest))
        depot.content.put(data)
        assembly.finish()
        return make_record(str(digest), parse_config(data), layers)
    finally:
        assembly.abandon()
        intake.abandon()


def _configuration(diff_id: str, config: dict[str, Any], platform: Platform, message: str) -> bytes:
    created = format_rfc3339(time.time_ns())
    document: dict[str, Any] = {
        "architecture": platform.architecture,
        "config": config,
        "created": created,
        "history": [{"created": created, "comment": message}],
        "os": platform.os,
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
    if platform.variant:
        document["variant"] = platform.variant
    return json.dumps(document, separators=(",", ":")).encode()
