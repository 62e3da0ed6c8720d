"""What a build's records say, put together: its vertices in the order in which they began, warnings, how it ended.

The records are those of `orlop.build.progress` as JSON objects; `time` is in ns of the clock of who told it.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from orlop.cli.build.output import Tail, plain_text

__all__ = ["Json", "Vertex", "Vertices"]

Json = Mapping[str, Any]

_KEPT_LINES = 100  # of the output of a step, for when it fails


class Vertex:
    """One thing that takes time. `number` counts from 1; `since` is the viewer's clock when it began, in seconds."""

    __slots__ = ("began", "ended", "id", "name", "number", "since", "step", "tail", "transfers")

    def __init__(self, record: Json, number: int, since: float) -> None:
        self.id: str = record["vertex"]
        self.name = plain_text(str(record.get("name") or self.id))
        self.step = int(record.get("step") or 0)
        self.number = number
        self.began = int(record["time"])
        self.since = since
        self.ended: Json | None = None
        self.transfers: dict[str, Json] = {}
        self.tail = Tail(_KEPT_LINES)

    @property
    def running(self) -> bool:
        return self.ended is None

    @property
    def error(self) -> str:
        """Why it failed, "" if it did not; what was cancelled did not fail."""
        return "" if self.ended is None or self.cancelled else str(self.ended.get("error") or "")

    @property
    def cancelled(self) -> bool:
        return self.ended is not None and bool(self.ended.get("cancelled"))

    @property
    def cached(self) -> bool:
        return self.ended is not None and bool(self.ended.get("cached"))

    def seconds(self, now: float) -> float:
        """Return how long it took, or has taken until `now`."""
        if self.ended is None:
            return max(0.0, now - self.since)
        return max(0, int(self.ended["time"]) - self.began) / 1e9


class Vertices:
    """All of a build. `finished` is its last record."""

    def __init__(self) -> None:
        self.all: dict[str, Vertex] = {}
        self.warnings: list[Json] = []
        self.finished: Json | None = None

    def take(self, record: Json, now: float) -> Vertex | None:
        """Take a record; return the vertex that it is about."""
        kind = record.get("kind")
        if kind == "began":
            vertex = self.all.get(record["vertex"])
            if vertex is None:
                vertex = self.all[record["vertex"]] = Vertex(record, len(self.all) + 1, now)
            return vertex
        if kind == "warned":
            self.warnings.append(record)
        elif kind == "finished":
            self.finished = record
        vertex = self.all.get(record.get("vertex", ""))
        if vertex is None:
            return None
        if kind == "ended":
            vertex.ended = record
        elif kind == "transfer":
            vertex.transfers[record["id"]] = record
        elif kind == "output":
            vertex.tail.feed(b64decode(record["data"]), record["stream"])
        return vertex

    @property
    def failed(self) -> Vertex | None:
        """The vertex that failed first."""
        found = [vertex for vertex in self.all.values() if vertex.error]
        return min(found, key=lambda vertex: int((vertex.ended or {})["time"]), default=None)
