"""The live view of a build: a line for each vertex, and below those that run, transfers and the end of their output.

What does not fit the terminal is left out, the vertices first that ended first; at the end all of them are shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TextIO

from orlop.cli.build.transfers import transfer_text
from orlop.cli.build.vertices import Json, Vertex, Vertices
from orlop.cli.frame import Frame
from orlop.cli.output import display_width, ellipsis

__all__ = ["View"]

TAIL = 6
_TRANSFERS = 6
_SIZE = (24, 80)  # of a terminal that does not know its own
_SOONEST = 0.05  # seconds between two frames


class View:
    """Draws `vertices`. `size` returns height and width of the terminal, `clock` seconds."""

    def __init__(
        self,
        vertices: Vertices,
        stream: TextIO,
        size: Callable[[], tuple[int, int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._vertices = vertices
        self._size = size
        self._clock = clock
        self._frame = Frame(stream)
        self._began = clock()
        self._drawn = -_SOONEST

    def show(self, record: Json, vertex: Vertex | None) -> None:
        pass

    def settle(self) -> None:
        now = self._clock()
        if now - self._drawn >= _SOONEST and self._vertices.all:
            height, width = self._known_size()
            lines = [self._title(now, ""), *chosen_lines(list(self._vertices.all.values()), height - 2, width, now)]
            self._frame.replace([ellipsis(line, width - 1) for line in lines], height, width)
            self._drawn = now

    def close(self) -> None:
        if not self._vertices.all:
            return
        now = self._clock()
        height, width = self._known_size()
        failed = any(vertex.running or vertex.error for vertex in self._vertices.all.values())
        lines = [self._title(now, "" if failed else " FINISHED")]
        for vertex in self._vertices.all.values():
            lines += [vertex_line(vertex, width, now, over=True), *_final_transfers(vertex)]
        self._frame.replace([ellipsis(line, width - 1) for line in lines], height, width, whole=True)
        self._frame.release()

    def _title(self, now: float, end: str) -> str:
        vertices = self._vertices.all.values()
        done = sum(not vertex.running for vertex in vertices)
        return f"[+] Building {now - self._began:.1f}s ({done}/{len(vertices)}){end}"

    def _known_size(self) -> tuple[int, int]:
        height, width = (known or default for known, default in zip(self._size(), _SIZE, strict=True))
        return max(3, height), max(20, width)


def chosen_lines(vertices: Sequence[Vertex], most: int, width: int, now: float) -> list[str]:
    """Return at most `most` lines: of what runs first, then of what ended last, in the order of their beginnings."""
    running = [vertex for vertex in vertices if vertex.running]
    ended = [vertex for vertex in vertices if not vertex.running]
    if len(running) > most:
        lines = [vertex_line(vertex, width, now) for vertex in running[: most - 1]]
        return [*lines, f" => ... and {len(running) - most + 1} more"]
    room = most - len(running)
    below = _shared(running, min(room, max(room - len(ended), room // 2)))
    room -= sum(len(lines) for lines in below.values())
    seen = sorted(ended, key=lambda vertex: int((vertex.ended or {})["time"]))[max(0, len(ended) - room) :]
    shown = {vertex.id for vertex in (*running, *seen)}
    lines = []
    for vertex in vertices:
        if vertex.id in shown:
            lines += [vertex_line(vertex, width, now), *below.get(vertex.id, ())]
    return lines


def _shared(running: Sequence[Vertex], room: int) -> dict[str, list[str]]:
    """Return the lines below each vertex that runs; who has few leaves room to the others."""
    below: dict[str, list[str]] = {}
    left = len(running)
    for vertex in sorted(running, key=lambda vertex: len(_lines_below(vertex, TAIL))):
        below[vertex.id] = _lines_below(vertex, max(0, room) // left)
        room -= len(below[vertex.id])
        left -= 1
    return below


def _lines_below(vertex: Vertex, most: int) -> list[str]:
    transfers = [transfer_text(record) for record in vertex.transfers.values() if not record.get("done")]
    lines = [f" => => {text}" for text in transfers if text][-_TRANSFERS:]
    lines += [f" => => # {line}" for line in vertex.tail.lines(TAIL)]
    return lines[-most:] if most else []


def _final_transfers(vertex: Vertex) -> list[str]:
    """Return what stays to be seen of transfers: those of contexts."""
    own = [record for record in vertex.transfers.values() if record.get("done") and "status" not in record]
    texts = [transfer_text(record).removesuffix(" done") for record in own if record.get("current")]
    return [f" => => {text}" for text in texts[:_TRANSFERS]]


def vertex_line(vertex: Vertex, width: int, now: float, *, over: bool = False) -> str:
    """Return the line of a vertex, less wide than the terminal; `over` says that what still runs never will end."""
    if vertex.cancelled or (over and vertex.running):
        label = "CANCELED "
    elif vertex.error:
        label = "ERROR "
    else:
        label = "CACHED " if vertex.cached else ""
    seconds = f"{vertex.seconds(now):.1f}s"
    room = width - 1 - len(seconds) - 1
    text = ellipsis(f" => {label}{vertex.name}", max(1, room))
    return f"{text}{' ' * max(0, room - display_width(text))} {seconds}"
