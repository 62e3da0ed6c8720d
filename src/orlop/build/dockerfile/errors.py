"""The one error of the Dockerfile language: what is wrong, and where."""

from __future__ import annotations

from collections.abc import Sequence

from orlop.build.dockerfile.tree import Range
from orlop.errors import InvalidArgument

__all__ = ["DockerfileError", "excerpt"]

_AROUND = 2
_MARKED_AT_MOST = 10
_WIDTH = 160
_LONGEST = 4096


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

    def excerpt(self) -> str:
        """Return the lines around the place, those that it covers marked; "" where they are not known."""
        return excerpt(self.lines, self.range) if self.range is not None else ""


def excerpt(lines: Sequence[str], place: Range) -> str:
    """Return the source lines around `place`, numbered, with those in it marked; long ones are cut."""
    last = max(place.end, place.line)
    shown = []
    for number in range(
        max(place.line - _AROUND, 1), min(last, place.line + _MARKED_AT_MOST, len(lines)) + _AROUND + 1
    ):
        if number > len(lines):
            break
        text = lines[number - 1].rstrip("\r")
        text = text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
        mark = ">>>" if place.line <= number <= last else "   "
        shown.append(f"{number:4} | {mark} {text}".rstrip())
    return "\n".join(shown)
