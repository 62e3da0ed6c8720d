"""Lists: rows in a table, as JSON, or in a template of the user's (``--format``).

A row is an object whose methods are the columns, under the names that docker's templates use (``ID``, ``Names``, …).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from orlop.cli.failure import CommandError
from orlop.cli.output import tabulate
from orlop.formats.template import Field, Part, go_json, parse, unescape

__all__ = ["FORMAT_HELP", "Headings", "Row", "render_rows", "write_rows"]

FORMAT_HELP = "How to print: 'table' (default), 'table TEMPLATE', 'json' or 'TEMPLATE' (a Go template)"

Headings = Mapping[str, str]


class Row:
    """What the rows of all lists have in common; `headings` names the columns."""

    headings: Headings

    def to_json(self) -> str:
        """Return all columns as a JSON object."""
        return go_json({name: getattr(self, name)() for name in sorted(self.headings)}, escape_html=True)


def write_rows(rows: Sequence[Row], headings: Headings, format: str) -> None:
    """Print rows in `format`."""
    sys.stdout.write(render_rows(rows, headings, format))


def render_rows(rows: Sequence[Row], headings: Headings, format: str) -> str:
    """Return rows in `format`: ``table TEMPLATE``, ``json`` or a template for each row."""
    table = format.startswith("table")
    source = "{{json .}}" if format == "json" else format.removeprefix("table") if table else format
    source = unescape(source.strip(" "))
    parts = parse(source)
    if parts is not None and all(_known(part, headings) for part in parts):
        lines = [_simple(parts, row) for row in rows]
        first = "".join(part if isinstance(part, str) else headings.get("".join(part.path), "") for part in parts)
    else:
        lines, first = _with_templates(source, rows, headings)
    body = "".join(line + "\n" for line in lines)
    return tabulate(f"{first}\n{body}") if table else body


def _known(part: Part, headings: Headings) -> bool:
    if isinstance(part, str):
        return True
    return (part.as_json and not part.path) or (len(part.path) == 1 and part.path[0] in headings)


def _simple(parts: Sequence[Part], row: Row) -> str:
    return "".join(part if isinstance(part, str) else _cell(part, row) for part in parts)


def _cell(part: Field, row: Row) -> str:
    if not part.path:
        return row.to_json()
    value = getattr(row, part.path[0])()
    if part.as_json:
        return go_json(value)
    return "<nil>" if value is None else str(value)


def _with_templates(source: str, rows: Sequence[Row], headings: Headings) -> tuple[list[str], str]:
    from orlop.cli.templates import HEADER_FUNCTIONS, MissingKey, Template, TemplateProblem

    try:
        template = Template(source, strict=True)
        lines = [template.render(row) for row in rows]
    except MissingKey as error:
        place = str(error).rpartition(": map has no entry")[0]
        raise CommandError(
            f"template parsing error: {place}: can't evaluate field {error.name} in type {_kind(rows)}"
        ) from None
    except TemplateProblem as error:
        raise CommandError(f"template parsing error: {error}") from None
    try:
        first = Template(source, strict=False, functions=HEADER_FUNCTIONS).render(_heading_object(headings))
    except TemplateProblem:
        first = ""  # as docker: what has no heading leaves the line empty
    return lines, first


def _kind(rows: Sequence[Row]) -> str:
    return type(rows[0]).__name__ if rows else "row"


def _heading_object(headings: Headings) -> Any:
    def label(self: object, name: str) -> str:
        return name.rpartition(".")[2].replace("-", " ").replace("_", " ")

    return type("HeadingLine", (), {**headings, "Label": label})()
