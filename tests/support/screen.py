"""A terminal's screen, as far as progress bars use one: text, line ends, moves up, erasing; lines that scroll away."""

from __future__ import annotations

import re

_PARTS = re.compile(r"\033\[(\d*)([A-Za-z])|(\r)|(\n)|([^\033\r\n]+)")


class Screen:
    """What was written, `rows` of `columns`; `scrolled` are the lines that left it above.

    A text that would not fit its line is an error: it would be broken on a real terminal.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.rows = rows
        self.columns = columns
        self.scrolled: list[str] = []
        self._lines = [""]
        self._row = 0
        self._column = 0

    def write(self, text: str) -> None:
        position = 0
        while position < len(text):
            match = _PARTS.match(text, position)
            assert match is not None, text[position:]
            position = match.end()
            count, command, back, end, plain = match.groups()
            if back:
                self._column = 0
            elif end:
                self._new_line()
            elif plain:
                self._put(plain)
            elif command == "A":
                self._row = max(0, self._row - int(count or 1))
            elif command == "K":
                self._lines[self._row] = self._lines[self._row][: self._column]
            elif command == "J":
                self._lines[self._row] = self._lines[self._row][: self._column]
                del self._lines[self._row + 1 :]
            else:
                raise AssertionError(match[0])

    def flush(self) -> None:
        pass

    def resize(self, rows: int, columns: int) -> None:
        """Take a new size as terminals do that break their lines anew."""
        pieces = [line[at : at + columns] for line in self._lines for at in range(0, max(1, len(line)), columns)]
        self._lines = pieces
        self._row = len(pieces) - 1
        self.rows, self.columns = rows, columns
        self._scroll()

    @property
    def lines(self) -> list[str]:
        """The lines with text on them, from the top."""
        return [line.rstrip() for line in self._lines if line.strip()]

    @property
    def everything(self) -> list[str]:
        return [*self.scrolled, *self.lines]

    def _put(self, text: str) -> None:
        line = self._lines[self._row].ljust(self._column)
        assert self._column + len(text) < self.columns, text
        self._lines[self._row] = line[: self._column] + text + line[self._column + len(text) :]
        self._column += len(text)

    def _new_line(self) -> None:
        self._row += 1
        self._column = 0  # the terminal driver adds the carriage return
        if self._row == len(self._lines):
            self._lines.append("")
        self._scroll()

    def _scroll(self) -> None:
        while len(self._lines) > self.rows:
            self.scrolled.append(self._lines.pop(0).rstrip())
            self._row -= 1
