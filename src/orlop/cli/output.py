"""Columns of text, byte for byte as docker's (a tab writer like Go's), and JSON with Docker's indentation."""

from __future__ import annotations

import re

__all__ = ["display_width", "ellipsis", "indent_json", "tabulate"]


def display_width(text: str) -> int:
    """Return how many terminal cells `text` takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def ellipsis(text: str, width: int) -> str:
    """Shorten `text` to `width` cells, the last of them an ellipsis."""
    if display_width(text) <= width:
        return text
    kept, used = "", 0
    for char in text:
        used += display_width(char)
        if used > width - 1:
            break
        kept += char
    return kept + "…"


def tabulate(text: str, *, minimum: int = 10, padding: int = 3) -> str:
    """Align tab-separated cells: a column is a block of consecutive lines that have a cell in it.

    A cell ends with a tab; what follows the last tab of a line belongs to no column. Widths are of a column's widest
    cell plus `padding`, `minimum` at least.
    """
    lines = [line.split("\t") for line in text.split("\n")]
    output: list[list[str]] = [[] for _ in lines]
    _align(lines, output, 0, len(lines), 0, minimum, padding)
    return "\n".join("".join((*cells, line[-1])) for cells, line in zip(output, lines, strict=True))


def _align(
    lines: list[list[str]], output: list[list[str]], first: int, last: int, column: int, minimum: int, padding: int
) -> None:
    at = first
    while at < last:
        if column >= len(lines[at]) - 1:
            at += 1
            continue
        end = at
        while end < last and column < len(lines[end]) - 1:
            end += 1
        width = max(minimum, *(display_width(lines[index][column]) + padding for index in range(at, end)))
        for index in range(at, end):
            cell = lines[index][column]
            output[index].append(cell + " " * (width - display_width(cell)))
        _align(lines, output, at, end, column + 1, minimum, padding)
        at = end


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+')


def indent_json(text: str, indent: str = "    ", *, compact: bool = False) -> str:
    """Return JSON text with one value a line, or `compact` on one; the values themselves are not touched."""
    if compact:
        return "".join(match[0] for match in _TOKEN.finditer(text))
    parts: list[str] = []
    depth = 0
    previous = ""
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in "}]":
            depth -= 1
            if previous not in ("{", "["):
                parts.append("\n" + indent * depth)
        elif previous in ("{", "[", ","):
            parts.append("\n" + indent * depth)
        parts.append(": " if token == ":" else token)
        if token in ("{", "["):
            depth += 1
        previous = token
    return "".join(parts)
