"""The last step of a build: its file system becomes an image of this store, with all names in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from orlop.build.document import image_document
from orlop.build.graph import BaseImage, Graph
from orlop.build.progress import Began, Ended, Report
from orlop.build.solver import Solved
from orlop.engine.images.attributes import publish
from orlop.errors import NotFound
from orlop.formats.digest import Digest
from orlop.formats.reference import Reference
from orlop.image.archive.load import make_record
from orlop.image.config import parse_config
from orlop.image.leases import Lease
from orlop.model.record import ImageRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["export"]

VERTEX = "export"


async def export(
    engine: Engine, graph: Graph, solved: Solved, names: Sequence[Reference], lease: Lease, report: Report
) -> tuple[ImageRecord, bool]:
    """Make the image, whose layers `lease` holds, and let `names` point to it; an image that loses its names stays,
    without any. Return its record, and whether it was there before."""
    report(Began(vertex=VERTEX, name="exporting to image", time=time.time_ns()))
    diff_ids = [layer.diff_id for layer in solved.file_system]
    data = image_document(graph, diff_ids, solved.created_at, solved.made)
    digest = Digest.of(data)
    present = _is_there(engine, str(digest))
    lease.hold(str(digest))
    await asyncio.to_thread(engine.images.content.put, data)
    record = make_record(str(digest), parse_config(data), solved.file_system)
    base = graph.nodes[graph.target.base]
    if isinstance(base, BaseImage):
        record = replace(record, parent=base.image_id)
    await engine.images.add([(record, names)], tagged=True)
    publish(engine, "create", record.id, record.id)
    for name in names:
        publish(engine, "tag", record.id, name.familiar())
    report(Ended(vertex=VERTEX, time=time.time_ns(), bytes=record.size, result=record.id))
    return record, present


def _is_there(engine: Engine, image_id: str) -> bool:
    try:
        return not engine.images.get(image_id).removed
    except NotFound:
        return False
