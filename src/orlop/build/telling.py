"""What is told of one vertex of a build: its beginning, what it says, its end, exactly one."""

from __future__ import annotations

from time import time_ns as now

from msgspec.structs import replace

from orlop.build.graph import Step
from orlop.build.progress import Began, Change, Ended, Output, Report, Started, Transfer
from orlop.model.record import BuildStepRecord

__all__ = ["Telling", "vertex_of"]


def vertex_of(step: Step) -> str:
    """Return the name of a step's vertex."""
    return f"step-{step.number}"


class Telling:
    """The sink of a step. Without a step nothing is told."""

    def __init__(self, report: Report, step: Step | None) -> None:
        self._report = report
        self._step = step
        self._vertex = vertex_of(step) if step is not None else ""
        self._container = ""
        self._key = ""
        self._reason = ""
        self._changes: tuple[Change, ...] = ()

    def began(self, inputs: tuple[str, ...]) -> None:
        if self._step is not None:
            self._report(
                Began(vertex=self._vertex, name=self._step.name, time=now(), step=self._step.number, inputs=inputs)
            )

    def why(self, key: str, reason: str, changes: tuple[Change, ...] = ()) -> None:
        """Note why the step is carried out, which its end will tell."""
        self._key, self._reason, self._changes = key, reason, changes

    # A `worker.Sink`

    def output(self, stream: int, data: bytes) -> None:
        if self._step is not None:
            self._report(Output(vertex=self._vertex, time=now(), stream=stream, data=data))

    def container(self, container_id: str) -> None:
        self._container = container_id
        if self._step is not None:
            self._report(Started(vertex=self._vertex, time=now(), container=container_id))

    def transfer(self, id: str, current: int, total: int, *, done: bool = False) -> None:
        if self._step is not None:
            self._report(Transfer(vertex=self._vertex, id=id, time=now(), current=current, total=total, done=done))

    def hashed(self, label: str, count: int) -> None:
        """Tell how many files had to be read to know what they are."""
        if self._step is not None and count:
            self._report(Transfer(vertex=self._vertex, id=label, time=now(), done=True, hashed=count))

    # Ends

    def cached(self, record: BuildStepRecord | None = None) -> None:
        """Tell that nothing had to be done; without a record, of what FROM brought."""
        self._made(record, cached=True)

    def made(self, record: BuildStepRecord) -> None:
        self._made(record, cached=False)

    def failed(self, message: str) -> None:
        self._end(Ended(vertex=self._vertex, time=now(), error=message or "it failed"))

    def cancelled(self) -> None:
        self._end(Ended(vertex=self._vertex, time=now(), error="canceled", cancelled=True))

    def _made(self, record: BuildStepRecord | None, *, cached: bool) -> None:
        if record is None:
            self._end(Ended(vertex=self._vertex, time=now(), cached=cached))
            return
        self._end(
            Ended(
                vertex=self._vertex,
                time=now(),
                cached=cached,
                seconds=record.seconds,
                bytes=record.layer.unpacked_size,
                result=record.layer.diff_id,
                key=record.key,
            )
        )

    def _end(self, ended: Ended) -> None:
        if self._step is None:
            return
        if not ended.cached:
            ended = replace(
                ended,
                key=ended.key or self._key,
                reason=self._reason,
                changes=self._changes,
                container=self._container,
            )
        self._report(ended)
