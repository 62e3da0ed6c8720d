"""The rows of the build cache, as `docker system df -v` shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from orlop.cli.humanize import ago, go_time, human_size
from orlop.cli.listing import Headings, Row
from orlop.formats.identity import short_id

__all__ = ["CACHE_HEADINGS", "CACHE_TABLE", "CacheRow", "cache_rows"]

Json = Mapping[str, Any]

CACHE_HEADINGS: Headings = {
    "ID": "CACHE ID",
    "Parent": "PARENT",
    "CacheType": "CACHE TYPE",
    "Description": "DESCRIPTION",
    "InUse": "IN USE",
    "Shared": "SHARED",
    "Size": "SIZE",
    "CreatedAt": "CREATED AT",
    "CreatedSince": "CREATED",
    "LastUsedAt": "LAST USED AT",
    "LastUsedSince": "LAST USED",
    "UsageCount": "USAGE",
}
CACHE_TABLE = (
    "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}"
)


class CacheRow(Row):
    """An item of ``BuildCache`` in ``GET /system/df``; a star after its id says that it is in use."""

    headings = CACHE_HEADINGS

    def __init__(self, item: Json, *, truncate: bool) -> None:
        self._item = item
        self._truncate = truncate

    def ID(self) -> str:
        return self._shown(self._item.get("ID", "")) + ("*" if self._item.get("InUse") else "")

    def Parent(self) -> str:
        return self._shown((self._item.get("Parents") or [self._item.get("Parent", "")])[0])

    def CacheType(self) -> str:
        return str(self._item.get("Type", ""))

    def Description(self) -> str:
        return str(self._item.get("Description", ""))

    def InUse(self) -> str:
        return _truth(self._item.get("InUse"))

    def Shared(self) -> str:
        return _truth(self._item.get("Shared"))

    def Size(self) -> str:
        return human_size(self._item.get("Size", 0), 3)

    def CreatedAt(self) -> str:
        return go_time(self._item["CreatedAt"])

    def CreatedSince(self) -> str:
        return _ago(self._item["CreatedAt"])

    def LastUsedAt(self) -> str:
        used = self._item.get("LastUsedAt")
        return go_time(used) if used else ""

    def LastUsedSince(self) -> str:
        used = self._item.get("LastUsedAt")
        return _ago(used) if used else ""

    def UsageCount(self) -> str:
        return str(self._item.get("UsageCount", 0))

    def _shown(self, id: str) -> str:
        return short_id(id) if self._truncate else id


def cache_rows(items: Iterable[Json], *, truncate: bool) -> list[CacheRow]:
    """Return the rows of all items, those first that were used longest ago."""
    ordered = sorted(items, key=lambda item: (item.get("LastUsedAt") or "", item.get("ID", "")))
    return [CacheRow(item, truncate=truncate) for item in ordered]


def _truth(value: object) -> str:
    return "true" if value else "false"


def _ago(time: str) -> str:
    return ago(datetime.fromisoformat(time).timestamp())
