"""Lines of a Dockerfile put together: continuations joined, comments taken out, heredocs read.

Where an instruction stands in the source is kept piece by piece, so that every word of it can be found again.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.dockerfile.tree import Range, Warning
from orlop.build.dockerfile.words import SPACE

__all__ = ["Lexer", "Line", "source_lines"]

_LONGEST_LINE = 65_535  # bytes: as BuildKit
_LONGEST_FILE = 16 * 1024 * 1024  # characters
_SURROGATES = re.compile("[\ud800-\udfff]")
_EMPTY_CONTINUATION = "https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/"


def source_lines(text: str | bytes) -> list[str]:
    """Return the lines of a Dockerfile without their newlines; what is no UTF-8 is replaced by U+FFFD.

    Raises `DockerfileError` for a line of more than 65,535 bytes and a file of more than 16 Mi characters.
    """
    beginning = text[: _LONGEST_FILE + 1]
    if isinstance(beginning, bytes):
        beginning = beginning.decode(errors="replace")
    lines = _SURROGATES.sub("\ufffd", beginning).removeprefix("\ufeff").split("\n")
    for number, line in enumerate(lines, 1):
        if len(line) * 4 > _LONGEST_LINE and len(line.encode()) > _LONGEST_LINE:
            message = f"dockerfile line greater than max allowed size of {_LONGEST_LINE}"
            raise DockerfileError(message, Range(number, number))
    if len(text) > _LONGEST_FILE:
        raise DockerfileError(f"dockerfile greater than max allowed size of {_LONGEST_FILE}")
    if not lines[-1]:
        lines.pop()
    return lines


@dataclass(frozen=True, slots=True)
class Line:
    """The text of one instruction, and where it stands: `starts` are the offsets of its pieces, `places` theirs."""

    text: str
    range: Range
    comments: tuple[str, ...]
    starts: tuple[int, ...]
    places: tuple[tuple[int, int], ...]

    def place(self, offset: int) -> Range:
        """Return where the character at `offset` stands in the source."""
        piece = max(bisect_right(self.starts, offset) - 1, 0)
        line, column = self.places[piece]
        return Range(line, line, column + offset - self.starts[piece])


class Lexer:
    """Reads instructions from source lines, one after the other."""

    def __init__(self, lines: Sequence[str], *, escape: str, first: int = 0) -> None:
        self.warnings: list[Warning] = []
        self._lines = lines
        self._escape = escape
        self._next = first

    def line(self) -> Line | None:
        """Return the next instruction, None at the end."""
        comments: list[str] = []
        while self._next < len(self._lines):
            raw = self._lines[self._next].rstrip("\r")
            text = raw.lstrip(SPACE)
            self._next += 1
            if text.startswith("#"):
                comment = raw[1:].strip(SPACE)
                comments.append(comment) if comment else comments.clear()
            elif text:
                return self._joined(text, len(raw) - len(text), tuple(comments))
        return None

    def heredoc(self, name: str, *, tabs: bool, owner: Range) -> tuple[str, Range]:
        """Return the lines up to the one that is `name`, and where they stand. Raises `DockerfileError`.

        With `tabs` leading tabs of the last line do not count. `owner` is the instruction that it belongs to.
        """
        first = self._next
        while self._next < len(self._lines):
            line = self._lines[self._next].rstrip("\r")
            self._next += 1
            if (line.lstrip("\t") if tabs else line) == name:
                content = self._lines[first : self._next - 1]
                return "".join(f"{line}\n" for line in content), Range(first + 1, self._next)
        raise DockerfileError("unterminated heredoc", Range(owner.line, len(self._lines), owner.column))

    def _joined(self, text: str, indent: int, comments: tuple[str, ...]) -> Line:
        """Return the instruction that begins with `text` on the line just read."""
        first = self._next
        text, continued = self._cut(text)
        pieces, starts, places = [text], [0], [(first, indent + 1)]
        length = len(text)
        empty = False
        while continued and self._next < len(self._lines):
            text = self._lines[self._next].rstrip("\r")
            self._next += 1
            content = text.lstrip(SPACE)
            if content.startswith("#"):
                continue
            if not content:
                empty = True
                continue
            text, continued = self._cut(text)
            pieces.append(text)
            starts.append(length)
            places.append((self._next, 1))
            length += len(text)
        if empty:
            self._warn_of_empty_line()
        return Line("".join(pieces), Range(first, self._next, indent + 1), comments, tuple(starts), tuple(places))

    def _cut(self, text: str) -> tuple[str, bool]:
        """Return `text` without the escape that continues it, and whether there was one: two of them are none."""
        stripped = text.rstrip(" \t")
        if stripped.endswith(self._escape) and not stripped.endswith(self._escape * 2):
            return stripped[:-1], True
        return text, False

    def _warn_of_empty_line(self) -> None:
        self.warnings.append(
            Warning(
                "NoEmptyContinuation",
                "Empty continuation line",
                Range(self._next, self._next),
                "Empty continuation lines will become errors in a future release",
                _EMPTY_CONTINUATION,
            )
        )
