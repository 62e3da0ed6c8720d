"""Docker's progress messages of a push, made of what is seen of its layers now and then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from orlop.image.archive.progress import bar

__all__ = ["INTERVAL", "Phase", "Progress", "Row"]

Json = dict[str, Any]

INTERVAL = 0.1
"""Seconds from one look to the next: a layer has at most one message of bytes in each."""


class Phase(Enum):
    """How far a layer has come; the value is what is said of it."""

    PREPARING = "Preparing"
    WAITING = "Waiting"
    PUSHING = "Pushing"
    PUSHED = "Pushed"
    PRESENT = "Layer already exists"
    MOUNTED = "Mounted from"
    FOREIGN = "Skipped foreign layer"


@dataclass(slots=True)
class Row:
    """One layer on its way out, as it is seen from outside."""

    id: str  # of its tar, shortened
    phase: Phase = Phase.PREPARING
    current: int = 0
    total: int = 0
    mounted_from: str = ""  # a repository


class Progress:
    """Looks at `rows` and tells what is new of them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._told: dict[str, tuple[Phase, int]] = {}

    def news(self) -> list[Json]:
        """Return the messages that have become due."""
        messages: list[Json] = []
        for row in self._rows:
            now = (row.phase, row.current)
            before = self._told.get(row.id)
            if now == before:
                continue
            if before is None and row.phase is not Phase.PREPARING:
                messages.append(_message(row, Phase.PREPARING.value))
            self._told[row.id] = now
            messages += _news(row, before)
        return messages


def _news(row: Row, before: tuple[Phase, int] | None) -> list[Json]:
    if row.phase is Phase.PUSHING:
        return [_counted(row)] if row.current else []
    if row.phase is Phase.MOUNTED:
        return [_message(row, f"{row.phase.value} {row.mounted_from}")]
    if row.phase is Phase.PUSHED and row.total and (before is None or before[1] < row.total):
        return [_counted(row), _message(row, row.phase.value)]
    return [_message(row, row.phase.value)]


def _message(row: Row, status: str) -> Json:
    return {"status": status, "progressDetail": {}, "id": row.id}


def _counted(row: Row) -> Json:
    return {
        "status": Phase.PUSHING.value,
        "progressDetail": {"current": row.current, "total": row.total},
        "progress": bar(row.current, row.total),
        "id": row.id,
    }
