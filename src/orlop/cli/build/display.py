"""The displays of a build's progress, of which `open_display` chooses one; and what each of them is told."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Protocol, TextIO

from orlop.cli.build.vertices import Json, Vertex, Vertices
from orlop.cli.terminal import is_terminal, terminal_size

__all__ = ["Display", "Progress", "open_display"]


class Display(Protocol):
    """Shows what happens. `show` gets each record after it was taken into account, `settle` is called now and then."""

    def show(self, record: Json, vertex: Vertex | None) -> None: ...

    def settle(self) -> None:
        """Nothing more has arrived for now."""

    def close(self) -> None:
        """Nothing more will come."""


class Progress:
    """A build as far as it is known here, and its display; records come from the daemon and from this client."""

    def __init__(self, mode: str) -> None:
        self.vertices = Vertices()
        self._display = open_display(mode, self.vertices, sys.stderr)

    def take(self, record: Json) -> None:
        """Take a record of the daemon's."""
        self._display.show(record, self.vertices.take(record, time.monotonic()))

    def settle(self) -> None:
        """Show what has not been shown yet, unless that was done just before."""
        self._display.settle()

    def close(self) -> None:
        """Leave the display as it is to stay."""
        self._display.close()

    # What the client does itself

    def began(self, vertex: str, name: str) -> None:
        self.take({"kind": "began", "vertex": vertex, "name": name, "time": time.time_ns()})
        self.settle()

    def transfer(self, vertex: str, id: str, current: int, total: int = 0, **more: int | bool) -> None:
        fields = {"vertex": vertex, "id": id, "time": time.time_ns(), "current": current, "total": total, **more}
        self.take({"kind": "transfer", **fields})
        self.settle()

    def ended(self, vertex: str, error: str = "") -> None:
        fields = {"error": error} if error else {}
        self.take({"kind": "ended", "vertex": vertex, "time": time.time_ns(), **fields})
        self.settle()


def open_display(mode: str, vertices: Vertices, stream: TextIO) -> Display:
    """Return the display of a mode. ``auto`` and ``tty`` are plain where `stream` is no terminal that can move its
    cursor."""
    if mode == "quiet":
        return _Nothing()
    if mode == "rawjson":
        return _Raw(stream)
    if mode != "plain" and is_terminal(stream.fileno()) and os.environ.get("TERM", "") not in ("", "dumb"):
        from orlop.cli.build.view import View

        return View(vertices, stream, lambda: terminal_size(stream.fileno()))
    from orlop.cli.build.plain import Plain

    return Plain(stream)


class _Nothing:
    def show(self, record: Json, vertex: Vertex | None) -> None:
        pass

    def settle(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Raw(_Nothing):
    """The records themselves, one a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, record: Json, vertex: Vertex | None) -> None:
        self._stream.write(json.dumps(record, separators=(",", ":")) + "\n")
        self._stream.flush()
