"""`GET /images/json`: the images, newest first."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from orlop.engine.images import platform
from orlop.engine.images.attributes import labels_of
from orlop.errors import Error
from orlop.formats.duration import parse_time
from orlop.formats.filters import Filters
from orlop.formats.identity import chain_ids
from orlop.formats.reference import Reference
from orlop.model.record import ImageRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["list_images"]

Json = dict[str, Any]


async def list_images(
    engine: Engine,
    *,
    all: bool = False,
    filters: Filters | None = None,
    shared_size: bool = False,
    digests: bool = False,
    manifests: bool = False,
) -> list[Json]:
    """Return the images that match `filters` in the form of the API.

    Without `all`, those that have no name and were committed from are left out. Digests are shown in any case.
    """
    filters = filters or Filters()
    chosen = _Chosen(engine, filters)
    names = engine.images.references_by_image()
    shared = _shared_sizes(engine) if shared_size else {}
    found: list[tuple[int, Json]] = []
    parents = {record.parent for record in engine.images}
    for record in engine.images:
        if not all and record.id in parents and record.id not in names:
            continue
        kept = chosen.names(record, names.get(record.id, []))
        if kept is not None:
            found.append((record.created_at, _summary(engine, record, kept, shared.get(record.id, -1))))
    found.sort(key=lambda item: item[0], reverse=True)
    summaries = [summary for _, summary in found]
    if manifests:
        chosen_records = [engine.images.get(summary["Id"]) for summary in summaries]
        by_image = await asyncio.to_thread(platform.manifests, engine, chosen_records)
        summaries = [summary | {"Manifests": by_image[summary["Id"]]} for summary in summaries]
    return summaries


class _Chosen:
    """The filters, read once."""

    def __init__(self, engine: Engine, filters: Filters) -> None:
        self._engine = engine
        self._filters = filters
        self._dangling = filters.boolean("dangling") if filters.has("dangling") else None
        now = time.time_ns()
        self._before = min(
            [engine.images.resolve(name).created_at for name in filters.get("before")]
            + [parse_time(until, now) for until in filters.get("until")],
            default=None,
        )
        self._since = max((engine.images.resolve(name).created_at for name in filters.get("since")), default=None)

    def names(self, record: ImageRecord, names: list[Reference]) -> list[Reference] | None:
        """Return the names to be shown of an image, None if it is not to be shown."""
        if self._before is not None and record.created_at >= self._before:
            return None
        if self._since is not None and record.created_at <= self._since:
            return None
        if self._filters.has("label") and not self._filters.match_labels(labels_of(self._engine, record)):
            return None
        patterns = self._filters.get("reference")
        if patterns:
            names = [name for name in names if any(name.matches(pattern) for pattern in patterns)]
            if not names:
                return None
        if self._dangling is True and any(name.digest is None for name in names):
            return None
        if self._dangling is False and not names:
            return None
        return names


def _summary(engine: Engine, record: ImageRecord, names: list[Reference], shared_size: int) -> Json:
    try:
        labels = (engine.images.config(record).get("config") or {}).get("Labels")
    except Error:
        labels = None  # a damaged image is still listed, so that it can be removed
    return {
        "Containers": -1,
        "Created": record.created_at // 10**9,
        "Id": record.id,
        "Labels": labels,
        "ParentId": record.parent,
        "RepoDigests": [name.familiar() for name in names if name.digest is not None],
        "RepoTags": [name.familiar() for name in names if name.digest is None],
        "SharedSize": shared_size,
        "Size": record.size,
    }


def _shared_sizes(engine: Engine) -> dict[str, int]:
    """Return for each image the bytes of layers that another image has too, on the same parents."""
    chains = {record.id: chain_ids([layer.diff_id for layer in record.layers]) for record in engine.images}
    uses = Counter(chain for chain_list in chains.values() for chain in set(chain_list))
    return {
        record.id: sum(
            layer.unpacked_size
            for layer, chain in zip(record.layers, chains[record.id], strict=True)
            if uses[chain] > 1
        )
        for record in engine.images
    }
