"""The lowest lines of a terminal, redrawn in place as often as one likes, and only where they differ.

The cursor rests below the last line whenever nothing is drawn: whatever ends the program there leaves the terminal
right, and nothing needs to be undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from orlop.cli.output import display_width

__all__ = ["Frame"]

_ERASE_LINE = "\033[K"
_ERASE_BELOW = "\033[J"


class Frame:
    """What is shown now. No line may be as wide as the terminal, so that none is broken in two."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown: list[str] = []
        self._width = 0

    def replace(self, lines: Sequence[str], height: int, width: int, *, whole: bool = False) -> None:
        """Show `lines` instead of what is there, on a terminal of this size; `whole` draws every line anew."""
        rows = len(self._shown)
        if width < self._width:  # most terminals have broken the lines that became too long
            rows = sum(max(1, -(-display_width(line) // width)) for line in self._shown)
        whole = whole or width != self._width or rows >= height
        up = min(rows, height - 1)
        text = "\r" + (f"\033[{up}A" if up else "") + (_ERASE_BELOW if whole else "")
        before = [] if whole else self._shown
        for index, line in enumerate(lines):
            same = index < len(before) and before[index] == line
            text += "\n" if same else f"{line}{_ERASE_LINE}\n"
        if len(lines) < len(before):
            text += _ERASE_BELOW
        self._shown, self._width = list(lines), width
        self._stream.write(text)
        self._stream.flush()

    def release(self) -> None:
        """Leave what is shown as it is, and begin anew below."""
        self._shown = []
