"""What a command of a step writes, as lines of text."""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Iterator

__all__ = ["Lines", "Tail", "plain_text"]

_LONGEST = 1 << 14  # characters of a line; what is longer is broken
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~]?)"
)


class Lines:
    """Splits bytes that come in pieces into lines. What a carriage return takes back is no line of its own."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the lines that `data` completes."""
        *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
        for line in lines:
            yield _overwritten(line)
        if "\r" in self._rest:
            kept = _overwritten(self._rest)
            self._rest = f"{kept}\r" if self._rest.endswith("\r") else kept
        if len(self._rest) > _LONGEST:
            line, self._rest = self._rest, ""
            yield line

    @property
    def rest(self) -> str:
        """The line that has not ended."""
        return _overwritten(self._rest)


class Tail:
    """The last lines of an output, fit to be shown on one row each."""

    def __init__(self, most: int) -> None:
        self._streams: dict[int, Lines] = {}
        self._last: deque[str] = deque(maxlen=most)

    def feed(self, data: bytes, stream: int = 1) -> None:
        """Take what was written to a stream (1 or 2)."""
        lines = self._streams.setdefault(stream, Lines())
        self._last.extend(plain_text(line) for line in lines.feed(data))

    def lines(self, most: int) -> list[str]:
        """Return at most `most` lines, the last ones, among them those that have not ended."""
        rests = [plain_text(lines.rest) for lines in self._streams.values() if lines.rest]
        found = [*self._last, *rests]
        return found[-most:] if most else []


def plain_text(line: str) -> str:
    """Return a line without what moves a terminal's cursor or changes its colours."""
    if line.isprintable():
        return line
    line = _ESCAPES.sub("", line.expandtabs())
    return line if line.isprintable() else "".join(char for char in line if char.isprintable())


def _overwritten(line: str) -> str:
    line = line.rstrip("\r")
    return line.rpartition("\r")[2] if "\r" in line else line
