"""The cache that an image carries: which steps its layers came of, so that it serves other builds (`--cache-from`).

It is a list in a field of the image's configuration, an entry for each step. It holds nothing that is measured, so an
image is the same wherever and whenever it is built. What an image says is believed only when a user names the image,
and only of layers that it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.formats.duration import SECOND, format_rfc3339, parse_rfc3339
from orlop.model.record import LayerRecord

__all__ = ["FIELD", "Found", "Made", "cache_document", "read_cache"]

FIELD = "orlop.build.cache"
"""The name of the field, at the top of the configuration."""


@dataclass(frozen=True, slots=True)
class Made:
    """A layer of an image and the step that made it."""

    key: str
    diff_id: str
    created_at: int  # ns


@dataclass(frozen=True, slots=True)
class Found:
    """A layer that an image of this store has for a key."""

    layer: LayerRecord
    created_at: int  # ns


def cache_document(made: Sequence[Made], epoch: int | None = None) -> list[dict[str, str]]:
    """Return the value of `FIELD` for an image whose steps made these layers, bottom first.

    With an `epoch` (``SOURCE_DATE_EPOCH``, seconds) all are of that time.
    """
    return [
        {
            "key": layer.key,
            "diff_id": layer.diff_id,
            "created": _date(layer.created_at if epoch is None else epoch * SECOND),
        }
        for layer in made
    ]


def read_cache(document: Mapping[str, Any], layers: Sequence[LayerRecord]) -> dict[str, Found]:
    """Return what an image with these `layers` has, by key; what makes no sense is left out."""
    entries = document.get(FIELD)
    by_diff_id = {layer.diff_id: layer for layer in layers}
    found: dict[str, Found] = {}
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        key, diff_id, created = entry.get("key"), entry.get("diff_id"), entry.get("created")
        if not (isinstance(key, str) and isinstance(diff_id, str) and isinstance(created, str)):
            continue
        layer = by_diff_id.get(diff_id)
        if layer is not None and _is_digest(key):
            found[key] = Found(layer, _time(created))
    return found


def _date(ns: int) -> str:
    return format_rfc3339(ns) if ns else "1970-01-01T00:00:00Z"  # 0 is a time here


def _is_digest(text: str) -> bool:
    try:
        return Digest.parse(text).algorithm == "sha256"
    except InvalidArgument:
        return False


def _time(text: str) -> int:
    try:
        return max(0, parse_rfc3339(text))
    except InvalidArgument:
        return 0
