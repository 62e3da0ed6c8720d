"""The one error of the Dockerfile language: what is wrong, and where."""

from __future__ import annotations

from collections.abc import Sequence

from orlop.build.dockerfile.tree import Range
from orlop.errors import InvalidArgument

__all__ = ["DockerfileError"]

_LONGEST = 4096  # characters of a message


class DockerfileError(InvalidArgument):
    """A Dockerfile that cannot be read: `detail` is what is wrong, without the place.

    `range` is the place, None for the whole file; `line`, where the instruction begins, goes into the message. `lines`
    is the source, where it is known.
    """

    def __init__(
        self, detail: str, range: Range | None = None, *, line: int | None = None, lines: Sequence[str] = ()
    ) -> None:
        if line is None and range is not None:
            line = range.line
        detail = detail if len(detail) <= _LONGEST else detail[:_LONGEST] + "…"
        super().__init__(detail if line is None else f"dockerfile parse error on line {line}: {detail}")
        self.detail = detail
        self.range = range
        self.lines = lines
