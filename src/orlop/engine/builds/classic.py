"""The stream of `POST /build` as classic clients read it (docker-py, the CLI without buildx, compose), out of a build's
records: pure.

Steps appear in the Dockerfile's order. What a step that runs beside an earlier one has to say is held back until its
turn, up to a limit. An id behind ``--->`` is that of the base image, of the image itself behind the last step, and
otherwise of the step's part of the build cache, for there are no images in between.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from orlop.build.failure import BuildFailed
from orlop.build.files.select import MissingSource
from orlop.build.graph import BaseImage, Graph, Step
from orlop.build.progress import Ended, Finished, Output, Progress, Started, Transfer, Warned
from orlop.build.telling import vertex_of
from orlop.errors import Error
from orlop.formats.stream import STDERR
from orlop.image.archive.progress import bar

__all__ = ["ClassicStream"]

Json = dict[str, Any]

HELD = 2 << 20
"""Bytes of output that are held back for one step."""
_RED, _PLAIN = "\x1b[91m", "\x1b[0m"


@dataclass(slots=True)
class _Shown:
    """What is known of a step, and what of it waits for its turn."""

    step: Step
    decoders: dict[int, codecs.IncrementalDecoder] = field(default_factory=dict)
    held: list[Json] = field(default_factory=list)
    size: int = 0
    started: bool = False
    headed: bool = False
    ended: Ended | None = None
    error: str = ""

    @property
    def immediate(self) -> bool:
        """Whether nothing has to be done for the step: the base images are here when there is a graph."""
        return self.step.metadata or self.step.instruction == "FROM"


class ClassicStream:
    """Makes the stream of one build. `remove` and `force_remove` are ``rm`` and ``forcerm``."""

    def __init__(self, *, remove: bool = True, force_remove: bool = False) -> None:
        self._remove = remove or force_remove
        self._force_remove = force_remove
        self._steps: list[_Shown] = []
        self._by_vertex: dict[str, _Shown] = {}
        self._ids: dict[int, str] = {}
        self._place = 0  # of the step whose turn it is
        self._warnings: list[Warned] = []

    def planned(self, graph: Graph) -> None:
        """Take the graph of the build, before the first record of a step."""
        self._steps = [_Shown(step) for step in graph.steps]
        self._by_vertex = {vertex_of(shown.step): shown for shown in self._steps}
        self._ids = {
            index: _short(node.image_id) for index, node in enumerate(graph.nodes) if isinstance(node, BaseImage)
        }

    def feed(self, record: Progress) -> list[Json]:
        """Return the objects that have become due with a record."""
        if isinstance(record, Warned):
            self._warnings.append(record)
            return []
        if isinstance(record, Finished):
            return list(self._finished(record))
        shown = self._by_vertex.get(record.vertex)
        if shown is None:
            return [_progress(record)] if isinstance(record, Transfer) and record.status else []
        self._take(shown, record)
        return list(self._due())

    def failed(self, error: Error) -> list[Json]:
        """Return the end of a stream that an error ends, with what the steps up to the failing one had to say."""
        objects: list[Json] = []
        failing = next((place for place, shown in enumerate(self._steps) if shown.error), -1)
        for shown in self._steps[self._place : failing + 1]:
            if shown.step.stage != self._steps[failing].step.stage and not (shown.headed or shown.held):
                continue
            objects += [*self._head(shown), *self._released(shown)]
            if shown.immediate or (shown.ended is not None and not shown.ended.error):
                objects.append(self._arrow(shown))
        code = error.code if isinstance(error, BuildFailed) else 0
        detail: Json = {"code": code} if code else {}
        message = _words(error)
        return [*objects, {"errorDetail": {**detail, "message": message}, "error": message}]

    # What a record means for its step

    def _take(self, shown: _Shown, record: Progress) -> None:
        match record:
            case Started():
                shown.started = True
                self._hold(shown, f" ---> Running in {record.container[:12]}\n")
            case Output():
                self._output(shown, record)
            case Transfer() if record.total and not record.hashed:
                _keep(shown, _progress(record), 0)
            case Ended():
                shown.ended = record
                self._end(shown, record)

    def _output(self, shown: _Shown, record: Output) -> None:
        decoder = shown.decoders.get(record.stream)
        if decoder is None:
            decoder = shown.decoders[record.stream] = codecs.getincrementaldecoder("utf-8")("replace")
        self._hold(shown, decoder.decode(record.data), red=record.stream == STDERR)

    def _end(self, shown: _Shown, ended: Ended) -> None:
        for stream, decoder in shown.decoders.items():
            self._hold(shown, decoder.decode(b"", final=True), red=stream == STDERR)
        if ended.error:
            shown.error = "" if ended.cancelled else ended.error
            if ended.container and self._force_remove:
                self._hold(shown, f"Removing intermediate container {ended.container[:12]}\n")
            return
        if ended.cached and not shown.immediate:
            self._hold(shown, " ---> Using cache\n")
        if ended.container and self._remove:
            self._hold(shown, f"Removing intermediate container {ended.container[:12]}\n")
        if ended.key:
            self._ids[shown.step.node] = _short(ended.key)

    def _hold(self, shown: _Shown, text: str, *, red: bool = False) -> None:
        if text:
            _keep(shown, _text(f"{_RED}{text}{_PLAIN}" if red else text), len(text))

    # What is due

    def _due(self) -> Iterator[Json]:
        """Yield what can be said now: of the step whose turn it is, and of those behind it when it is done."""
        while self._place < len(self._steps):
            shown = self._steps[self._place]
            if not shown.immediate:
                yield from self._head(shown)
                yield from self._released(shown)
                if shown.ended is None or shown.ended.error:
                    return
            elif shown.step.instruction == "FROM":
                yield from self._head(shown)
            else:
                cached = self._cached(self._place)
                if cached is None:
                    return
                yield from self._metadata(shown, cached)
            if self._place == len(self._steps) - 1:
                return  # the id behind it is the image's
            yield self._arrow(shown)
            self._place += 1

    def _metadata(self, shown: _Shown, cached: bool) -> Iterator[Json]:
        yield from self._head(shown)
        if cached:
            yield _text(" ---> Using cache\n")

    def _cached(self, place: int) -> bool | None:
        """Tell whether a step that makes no layer was there before: as the next one of its stage that makes one, or
        else the last. None while that is not known."""
        stage = self._steps[place].step.stage
        behind = (shown for shown in self._steps[place + 1 :] if shown.step.stage == stage)
        for shown in behind:
            if not shown.immediate:
                return shown.ended.cached if shown.ended else (False if shown.started else None)
        if stage == self._steps[-1].step.stage:
            return None  # as the image, which is known at the end
        before = (shown.ended for shown in reversed(self._steps[:place]) if shown.step.stage == stage and shown.ended)
        return next((ended.cached for ended in before), True)

    def _head(self, shown: _Shown) -> list[Json]:
        if shown.headed:
            return []
        shown.headed = True
        return [_text(f"Step {shown.step.number}/{len(self._steps)} : {shown.step.text}"), _text("\n")]

    def _released(self, shown: _Shown) -> list[Json]:
        held, shown.held, shown.size = shown.held, [], 0
        return held

    def _arrow(self, shown: _Shown) -> Json:
        return _text(f" ---> {self._ids.get(shown.step.node, '')}\n")

    def _finished(self, record: Finished) -> Iterator[Json]:
        image = _short(record.image)
        for shown in self._steps[self._place :]:
            if shown.step.metadata and shown.step.instruction != "FROM":
                yield from self._metadata(shown, record.present)
            else:
                yield from self._head(shown)
                yield from self._released(shown)
            yield _text(f" ---> {image}\n") if shown is self._steps[-1] else self._arrow(shown)
        self._place = len(self._steps)
        yield {"aux": {"ID": record.image}}
        yield from map(_text, _warnings(self._warnings))
        yield _text(f"Successfully built {image}\n")
        for name in record.names:
            yield _text(f"Successfully tagged {name}\n")


def _keep(shown: _Shown, item: Json, size: int) -> None:
    """Append to what a step has to say; beyond the limit only that something is missing."""
    before = shown.size
    shown.size += size
    if shown.size <= HELD:
        shown.held.append(item)
    elif before <= HELD:
        shown.held.append(_text(f"\n[output clipped, {HELD >> 20} MiB were held back]\n"))


def _words(error: Error) -> str:
    """Return what is wrong in the classic builder's words, where these are others."""
    step = error.step if isinstance(error, BuildFailed) else None
    if step is None or not isinstance(error.__cause__, MissingSource):
        return error.message
    where = "" if "--from" in step.text else "file not found in build context or excluded by .dockerignore: "
    return f"{step.instruction} failed: {where}stat {error.__cause__.path}: file does not exist"


def _warnings(warnings: Iterable[Warned]) -> Iterator[str]:
    """Yield the lines of warnings: those of the build, then those of checks."""
    checks = []
    for warning in warnings:
        if warning.rule:
            checks.append(f" - {warning.rule}: {warning.message}" + (f" (line {warning.line})" if warning.line else ""))
        else:
            yield f"[Warning] {warning.message}\n"
    if checks:
        count = len(checks)
        yield f"\n {count} warning{'s' if count != 1 else ''} found:\n" + "".join(f"{line}\n" for line in checks)


def _progress(record: Transfer) -> Json:
    """Return a transfer as Docker's clients draw it."""
    item: Json = {"status": record.status or "Downloading"}
    if record.total:
        item["progressDetail"] = {"current": record.current, "total": record.total}
        item["progress"] = bar(record.current, record.total)
    elif record.id:
        item["progressDetail"] = {}
    return item | ({"id": record.id} if record.id else {})


def _text(text: str) -> Json:
    return {"stream": text}


def _short(digest: str) -> str:
    return digest.rpartition(":")[2][:12]
