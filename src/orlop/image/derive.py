"""Deriving: an image of another one's layers and one more, which came in by a `LayerIntake`."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from orlop.formats.digest import Digest
from orlop.formats.duration import format_rfc3339
from orlop.image.archive.load import make_record
from orlop.image.assembly import Assembly
from orlop.image.collect import names_of
from orlop.image.config import parse_config
from orlop.image.depot import Depot
from orlop.image.intake import TakenLayer
from orlop.image.leases import Lease
from orlop.image.unpack import Limits
from orlop.model.record import ImageRecord

__all__ = ["configuration", "derive", "hold"]

Json = dict[str, Any]

_INHERITED = ("architecture", "variant", "os", "os.version", "os.features")


def configuration(
    parent: Json, config: Json, *, created_at: int, created_by: str, author: str, comment: str, diff_id: str | None
) -> bytes:
    """Return the document of an image that adds a layer to `parent`'s, or only a step of history (no `diff_id`).

    `config` is its ``config`` object, `created_at` is in ns.
    """
    created = format_rfc3339(created_at)
    step: Json = {"created": created, "created_by": created_by, "author": author, "comment": comment}
    step = {key: value for key, value in step.items() if value}
    if diff_id is None:
        step["empty_layer"] = True
    diff_ids = [*((parent.get("rootfs") or {}).get("diff_ids") or []), *([diff_id] if diff_id else [])]
    document: Json = {key: parent[key] for key in _INHERITED if parent.get(key)}
    document |= {
        "config": config,
        "created": created,
        "history": [*(parent.get("history") or []), step],
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    if author:
        document["author"] = author
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def hold(depot: Depot, lease: Lease, parent: ImageRecord) -> None:
    """Keep everything of `parent`, whatever becomes of it meanwhile."""
    for name in names_of(parent, depot.layers):
        lease.hold(name)


def derive(depot: Depot, lease: Lease, parent: ImageRecord, layer: TakenLayer | None, data: bytes) -> ImageRecord:
    """Put the image in place, of which `data` is the `configuration`; return its record, which nothing names yet.

    The caller holds the parent, and abandons the layer's intake in any case. Raises `InvalidArgument` and `OSError`.
    """
    config = parse_config(data)
    taken = [*(TakenLayer(record) for record in parent.layers), *([layer] if layer else [])]
    assembly = Assembly(depot, lease, Limits())
    try:
        layers = assembly.place(config.rootfs.diff_ids, taken)
        digest = Digest.of(data)
        lease.hold(str(digest))
        depot.content.put(data)
        assembly.finish()
    finally:
        assembly.abandon()
    return msgspec.structs.replace(make_record(str(digest), config, layers), parent=parent.id)
