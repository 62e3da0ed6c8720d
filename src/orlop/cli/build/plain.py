"""Progress in lines that stay: those of one vertex together as far as that can be, each with the vertex's number.

While a vertex speaks, what others say is held back: until it ends, is silent for a time, or too much waits.
"""

from __future__ import annotations

import time
from base64 import b64decode
from collections.abc import Callable
from typing import TextIO

from orlop.cli.build.output import Lines
from orlop.cli.build.transfers import transfer_text
from orlop.cli.build.vertices import Json, Vertex

__all__ = ["Plain"]

_SILENCE = 1.0  # seconds
_LONGEST_TURN = 5.0  # seconds that others wait at most
_MOST_HELD = 1000  # lines


class Plain:
    """Writes lines in the form of BuildKit's plain progress."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._speakers: dict[str, _Speaker] = {}
        self._current: _Speaker | None = None
        self._turn_began = 0.0
        self._last_spoke = 0.0
        self._held = 0

    def show(self, record: Json, vertex: Vertex | None) -> None:
        if vertex is None:
            return
        speaker = self._speakers.get(vertex.id)
        if speaker is None:
            speaker = self._speakers[vertex.id] = _Speaker(vertex)
        lines = speaker.lines(record)
        speaker.waiting += lines
        self._held += len(lines)
        if self._current is None:
            self._begin_turn(speaker)
        if speaker is self._current:
            self._flush()
        elif self._held > _MOST_HELD:
            self._begin_turn(speaker)

    def settle(self) -> None:
        if self._current is not None and self._others_wait():
            now = self._clock()
            if now - self._last_spoke >= _SILENCE or now - self._turn_began >= _LONGEST_TURN:
                self._begin_turn(self._next())
        self._stream.flush()

    def close(self) -> None:
        for speaker in self._speakers.values():
            speaker.give_up()
        if self._current is None and self._speakers:
            self._begin_turn(self._next())
        self._flush()
        self._stream.flush()

    def _others_wait(self) -> bool:
        return any(speaker.waiting for speaker in self._speakers.values() if speaker is not self._current)

    def _next(self) -> _Speaker:
        """Return who has waited longest: who ended first of all, for that is one less that waits."""
        waiting = [speaker for speaker in self._speakers.values() if speaker.waiting and speaker is not self._current]
        return min(waiting, key=lambda speaker: speaker.vertex.running)

    def _begin_turn(self, speaker: _Speaker) -> None:
        if self._current is not None and self._current is not speaker:
            self._stream.write(f"#{self._current.vertex.number} ...\n\n")
        if self._current is not speaker:
            self._stream.write(f"#{speaker.vertex.number} {speaker.vertex.name}\n")
            self._turn_began = self._clock()
        self._current = speaker
        self._flush()

    def _flush(self) -> None:
        while self._current is not None:
            speaker = self._current
            self._stream.writelines(speaker.waiting)
            self._held -= len(speaker.waiting)
            speaker.waiting = []
            self._last_spoke = self._clock()
            if not speaker.over:
                return
            self._stream.write("\n")
            del self._speakers[speaker.vertex.id]
            self._current = None
            if self._others_wait():
                following = self._next()
                self._stream.write(f"#{following.vertex.number} {following.vertex.name}\n")
                self._turn_began = self._clock()
                self._current = following


class _Speaker:
    """A vertex, and its lines that were not written yet."""

    def __init__(self, vertex: Vertex) -> None:
        self.vertex = vertex
        self.waiting: list[str] = []
        self.over = False
        self._outputs: dict[int, Lines] = {}
        self._told: dict[str, str] = {}

    def lines(self, record: Json) -> list[str]:
        """Return what a record adds."""
        number, kind = self.vertex.number, record["kind"]
        if kind == "output":
            lines = self._outputs.setdefault(record["stream"], Lines())
            return [self._output(line, record) for line in lines.feed(b64decode(record["data"]))]
        if kind == "transfer":
            text = self._transfer(record)
            return [f"#{number} {text}\n"] if text else []
        if kind != "ended":
            return []
        self.over = True
        rests = [self._output(lines.rest, record) for lines in self._outputs.values() if lines.rest]
        return [*rests, f"#{number} {self._end()}\n"]

    def give_up(self) -> None:
        """Add what is said of a vertex that will not end."""
        if not self.over:
            self.over = True
            self.waiting.append(f"#{self.vertex.number} CANCELED\n")

    def _output(self, line: str, record: Json) -> str:
        return f"#{self.vertex.number} {max(0, record['time'] - self.vertex.began) / 1e9:.3f} {line}\n"

    def _transfer(self, record: Json) -> str:
        """Return what a log is to say of a transfer: each new status, and its end."""
        if not (record.get("done") or (record.get("status") and not record.get("current"))):
            return ""
        text = transfer_text(record)
        if self._told.get(record["id"]) == text:
            return ""
        self._told[record["id"]] = text
        return text

    def _end(self) -> str:
        vertex = self.vertex
        if vertex.cancelled:
            return "CANCELED"
        if vertex.error:
            return f"ERROR: {vertex.error}"
        return "CACHED" if vertex.cached else f"DONE {vertex.seconds(0):.1f}s"
