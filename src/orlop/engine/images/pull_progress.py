"""Docker's progress messages of a pull, made of what is seen of its layers now and then."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orlop.image.archive.progress import bar
from orlop.image.fetch import LayerFetch, Phase
from orlop.image.gather import Row

__all__ = ["INTERVAL", "Progress"]

Json = dict[str, Any]

INTERVAL = 0.1
"""Seconds from one look to the next: a layer has at most one message of bytes in each."""


@dataclass(slots=True)
class _Told:
    """What the client was told of one layer."""

    phase: Phase = Phase.WAITING
    waiting: bool = False
    downloaded: int = -1
    extracted: int = -1
    retry: int = 0


class Progress:
    """Looks at `rows`, which may still be empty, and tells what is new of them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._told: list[_Told] = []

    def news(self) -> list[Json]:
        """Return the messages that have become due; none is left out, however much happened since the last time."""
        messages: list[Json] = []
        for row in self._rows[len(self._told) :]:
            self._told.append(_Told())
            messages.append(_message(row, "Already exists" if row.known else "Pulling fs layer"))
        for row, told in zip(self._rows, self._told, strict=True):
            if row.fetch is not None and told.phase < Phase.COMPLETE:
                messages += _news(row, row.fetch, told)
        return messages


def _news(row: Row, fetch: LayerFetch, told: _Told) -> list[Json]:
    phase = fetch.phase
    total = row.descriptor.size
    messages: list[Json] = []
    if phase is Phase.WAITING and not told.waiting:
        told.waiting = True
        messages.append(_message(row, "Waiting"))
    if (retry := _retry(fetch)) != told.retry:
        told.retry = retry
        if retry:
            messages.append(_message(row, f"Retrying in {retry} second{'s' if retry != 1 else ''}"))
    if told.phase <= Phase.DOWNLOADING <= phase and not retry:
        downloaded = fetch.downloaded if phase is Phase.DOWNLOADING else total
        if downloaded != told.downloaded:
            told.downloaded = downloaded
            messages.append(_counted(row, "Downloading", downloaded))
    if told.phase < Phase.VERIFYING <= phase:
        messages.append(_message(row, "Verifying Checksum"))
    if told.phase < Phase.EXTRACTING <= phase:
        messages.append(_message(row, "Download complete"))
    if phase >= Phase.EXTRACTING:
        extracted = fetch.extracted if phase is Phase.EXTRACTING else total
        if extracted != told.extracted:
            told.extracted = extracted
            messages.append(_counted(row, "Extracting", extracted))
    if phase is Phase.COMPLETE:
        messages.append(_message(row, "Pull complete"))
    told.phase = phase
    return messages


def _retry(fetch: LayerFetch) -> int:
    """Return the seconds until the next attempt, 0 if none is waited for."""
    return max(1, math.ceil(fetch.retry_at - asyncio.get_running_loop().time())) if fetch.retry_at else 0


def _message(row: Row, status: str) -> Json:
    return {"status": status, "progressDetail": {}, "id": row.descriptor.parsed_digest.short}


def _counted(row: Row, status: str, current: int) -> Json:
    total = row.descriptor.size
    return {
        "status": status,
        "progressDetail": {"current": current, "total": total},
        "progress": bar(current, total),
        "id": row.descriptor.parsed_digest.short,
    }
