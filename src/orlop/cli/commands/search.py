"""`orlop search`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orlop.cli.command import command, exactly
from orlop.cli.credentials.access import with_access
from orlop.cli.flags import BOOL, INT, STRING, Flag, Options
from orlop.cli.kinds import FILTER
from orlop.cli.listing import FORMAT_HELP, Headings, Row, write_rows
from orlop.cli.output import ellipsis
from orlop.cli.session import Session
from orlop.client import calls
from orlop.formats.template import go_json

__all__ = ["search"]

_TABLE = "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}"
_HEADINGS: Headings = {
    "Description": "DESCRIPTION",
    "IsOfficial": "OFFICIAL",
    "Name": "NAME",
    "StarCount": "STARS",
}


class SearchRow(Row):
    """A repository that was found."""

    headings = _HEADINGS

    def __init__(self, found: Mapping[str, Any], *, truncate: bool) -> None:
        self._found = found
        self._truncate = truncate

    def to_json(self) -> str:
        fields = {name: getattr(self, name)() for name in sorted(self.headings)}
        return go_json({**fields, "IsOfficial": "true" if self._official else "false"}, escape_html=True)

    def Name(self) -> str:
        return str(self._found.get("name", ""))

    def Description(self) -> str:
        text = str(self._found.get("description", "")).replace("\n", " ").replace("\r", " ")
        return ellipsis(text, 45) if self._truncate else text

    def StarCount(self) -> str:
        return str(self._found.get("star_count", 0))

    def IsOfficial(self) -> str:
        return "[OK]" if self._official else ""

    @property
    def _official(self) -> bool:
        return bool(self._found.get("is_official"))


@command(
    "[OPTIONS] TERM",
    exactly(1),
    flags=(
        Flag("filter", "f", FILTER, "Show only what fits a condition (is-official=true, stars=3)"),
        Flag("format", "", STRING, FORMAT_HELP),
        Flag("limit", "", INT, "Show at most this many"),
        Flag("no-trunc", "", BOOL, "Show everything in full"),
    ),
)
def search(session: Session, options: Options, arguments: list[str]) -> None:
    """Look for repositories in a registry."""
    if "is-automated" in options.filter:
        session.warn(
            'WARNING: the "is-automated" filter is deprecated, and searching for "is-automated=true" '
            "will not yield any results in future."
        )
    term = arguments[0]
    found = with_access(
        session,
        _domain(term),
        "search",
        lambda auth: session.engine.do(
            calls.image_search(term, limit=options.limit, filters=options.filter, auth=auth)
        ),
    )
    rows = [SearchRow(item, truncate=not options.no_trunc) for item in found or ()]
    write_rows(rows, _HEADINGS, _TABLE if options.format in ("", "table") else options.format)


def _domain(term: str) -> str:
    """Return the registry that a term names with its first word, Docker Hub for others."""
    first, slash, _ = term.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return first if named else "docker.io"
