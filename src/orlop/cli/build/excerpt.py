"""The lines of a Dockerfile that an error or a warning is about, with some around them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from orlop.cli.build.output import plain_text

__all__ = ["excerpt", "line_of"]

_AROUND = 4  # lines around one line; around several, half as many
_LONGEST = 1000  # characters of a line
_RULE = "-" * 20
_PLACE = re.compile(r"dockerfile parse error on line (\d+):")


def excerpt(name: str, text: str | None, line: int, end: int, source: Sequence[str] = ()) -> str:
    """Return lines `line` to `end` of a Dockerfile, marked, as BuildKit shows them; "" where there is none.

    Where its whole `text` is not known, `source` are these lines alone.
    """
    lines = text.removeprefix("\ufeff").split("\n") if text is not None else []
    end = max(line, end)
    if 1 <= line <= len(lines):
        end = min(end, len(lines))
        first, last = _around(line, end, len(lines))
        shown = list(enumerate(lines[first - 1 : last], first))
    elif line >= 1 and source:
        shown = list(enumerate(source, line))
    else:
        return ""
    rows = [f"{number:4d} | {'>>>' if line <= number <= end else '   '} {_row(row)}\n" for number, row in shown]
    return f"{plain_text(name)}:{line}\n{_RULE}\n{''.join(rows)}{_RULE}\n"


def line_of(message: str) -> int:
    """Return the line that a parser's message names, 0 for none."""
    match = _PLACE.search(message)
    return int(match[1]) if match else 0


def _around(line: int, end: int, count: int) -> tuple[int, int]:
    """Return first and last line of what is shown: the lines, and some more on both sides where there are."""
    left = _AROUND if line == end else _AROUND // 2
    while left > 0 and (line > 1 or end < count):
        if line > 1:
            line -= 1
            left -= 1
        if end < count:
            end += 1
            left -= 1
    return line, end


def _row(line: str) -> str:
    line = plain_text(line.rstrip("\r"))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
