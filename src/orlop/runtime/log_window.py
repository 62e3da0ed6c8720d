"""Which part of a log journal was asked for: streams, a span of time, the last lines. Pure.

A line belongs where it starts: one whose start is left out is left out to its end, though it may run on over many
records. The two streams have lines of their own, however their records alternate.
"""

from __future__ import annotations

from orlop.formats.journal import Span

__all__ = ["FOREVER", "LineCounter", "Window"]

FOREVER = (1 << 63) - 1
_NEWLINE = 0x0A


class Window:
    """Passes on what lies in it. Blocks must be given in order.

    `skip` is how many lines are to be left out, of those that are otherwise in the window. `cut` says that the first
    block may start in the middle of a line.
    """

    def __init__(
        self, streams: tuple[int, ...], since: int = 0, until: int = FOREVER, skip: int = 0, cut: bool = False
    ) -> None:
        self._streams = streams
        self._since = since
        self._until = until
        self._skip = skip
        self._cut = dict.fromkeys(streams, cut)  # the start of the line that comes was left out
        self._begun = since == 0
        self.ended = False

    @property
    def open(self) -> bool:
        """Whether from now on everything of the chosen streams is in the window."""
        return self._begun and self._until == FOREVER and not self._skip and not any(self._cut.values())

    def select(self, block: bytes, spans: list[Span]) -> list[Span]:
        """Return what of `spans` (records of `block`) is in the window, cut where only a part is."""
        kept: list[Span] = []
        for stream, time, start, end in spans:
            if stream not in self._cut or start == end:
                continue
            if time > self._until:
                self.ended = True
                break
            if time < self._since:
                self._cut[stream] = block[end - 1] != _NEWLINE
                continue
            self._begun = True
            start = self._after_cut(block, stream, start, end)
            if self._skip and start < end:
                start = self._after_skipped(block, stream, start, end)
            if start < end:
                kept.append((stream, time, start, end))
        return kept

    def _after_cut(self, block: bytes, stream: int, start: int, end: int) -> int:
        """Return where the first line that is not cut starts."""
        if not self._cut[stream]:
            return start
        newline = block.find(b"\n", start, end)
        if newline < 0:
            return end
        self._cut[stream] = False
        return newline + 1

    def _after_skipped(self, block: bytes, stream: int, start: int, end: int) -> int:
        """Leave out lines of a piece that starts with one; return where the rest starts."""
        unterminated = block[end - 1] != _NEWLINE
        lines = block.count(b"\n", start, end) + unterminated
        if lines <= self._skip:
            self._skip -= lines
            self._cut[stream] = unterminated
            return end
        for _ in range(self._skip):
            start = block.index(b"\n", start, end) + 1
        self._skip = 0
        return start


class LineCounter:
    """Counts the lines that start in pieces of a log, given in order."""

    def __init__(self) -> None:
        self._unterminated: set[int] = set()
        self.lines = 0

    def add(self, block: bytes, spans: list[Span]) -> None:
        """Count what starts in `spans` of `block`."""
        for stream, _time, start, end in spans:
            self.lines += block.count(b"\n", start, end)
            if stream in self._unterminated:
                self.lines -= 1
            if block[end - 1] == _NEWLINE:
                self._unterminated.discard(stream)
            else:
                self.lines += 1
                self._unterminated.add(stream)
