"""What the rules look at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from orlop.build.dockerfile.reading import Reading, StageReading, Use
from orlop.build.dockerfile.tree import Dockerfile, Instruction, Range
from orlop.formats.ignore import Ignore

__all__ = ["Find", "Found", "Subject"]

Found = tuple[Range, str]
"""Where a rule is broken, and how."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A Dockerfile, and what it says with its variables put in.

    `default_bases` are what stages start from without the client's arguments. `built` are the stages that are built, by
    their names or as ``stage-<number>``; None is all. `ignore` is the .dockerignore of the context, None without one.
    """

    dockerfile: Dockerfile
    reading: Reading
    default_bases: tuple[str, ...] = ()
    built: Collection[str] | None = None
    ignore: Ignore | None = None

    def stages(self) -> Iterator[StageReading]:
        """Yield the stages that are built."""
        for place, stage in enumerate(self.reading.stages):
            if self.built is None or (stage.stage.name or f"stage-{place}") in self.built:
                yield stage

    def uses(self) -> Iterator[Use]:
        """Yield the instructions of the stages that are built."""
        for stage in self.stages():
            yield from stage.uses

    def instructions(self) -> Iterator[Instruction]:
        """Yield all FROMs and the instructions of all stages, as they are written."""
        for stage in self.dockerfile.stages:
            yield stage.source
            yield from stage.instructions


Find = Callable[[Subject], Iterator[Found]]
"""What a rule does: it yields where it is broken."""
