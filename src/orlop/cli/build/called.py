"""What ``--check`` and ``--call=outline|targets`` print: for people, or as JSON."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orlop.cli.build.ending import whole_warning
from orlop.cli.build.output import plain_text
from orlop.cli.build.vertices import Json
from orlop.cli.output import tabulate

__all__ = ["check_text", "outline_text", "targets_text"]


def check_text(warnings: Sequence[Json], name: str, text: str | None, *, as_json: bool) -> str:
    """Return the result of the checks."""
    if as_json:
        return _json(_check_document(warnings, name, text))
    if not warnings:
        return "Check complete, no warnings found.\n"
    count = "1 warning has" if len(warnings) == 1 else f"{len(warnings)} warnings have"
    return f"Check complete, {count} been found!\n" + "".join(whole_warning(item, name, text) for item in warnings)


def _check_document(warnings: Sequence[Json], name: str, text: str | None) -> Json:
    """Return the result in the form of BuildKit's ``lint`` request."""
    found = []
    for warning in warnings:
        item = {
            "ruleName": warning.get("rule", ""),
            "description": warning.get("description", ""),
            "url": warning.get("url", ""),
            "detail": warning["message"],
        }
        if line := warning.get("line"):
            place = {"start": {"line": line}, "end": {"line": max(line, warning.get("end") or 0)}}
            item["location"] = {"ranges": [place]}
        found.append({key: value for key, value in item.items() if value})
    document: dict[str, Any] = {"warnings": found} if found else {}
    if text is not None:
        data = b64encode(text.encode("utf-8", "surrogateescape")).decode()
        document["sources"] = [{"filename": name, "language": "Dockerfile", "data": data}]
    return document


def targets_text(document: Json, *, as_json: bool) -> str:
    """Return the stages that can be built."""
    if as_json:
        return _json(document)
    rows = []
    for target in document.get("targets") or ():
        name = target.get("name", "")
        if target.get("default"):
            name = f"{name} (default)" if name else "(default)"
        if name:
            rows.append((name, target.get("description", "")))
    return _table(("TARGET", "DESCRIPTION"), rows)


def outline_text(document: Json, *, as_json: bool) -> str:
    """Return what a target takes: arguments, secrets, sockets of ssh agents, caches."""
    if as_json:
        return _json(document)
    head = f"TARGET:\t{plain_text(document.get('name') or '(default)')}\n"
    if document.get("description"):
        head += f"DESCRIPTION:\t{plain_text(document['description'])}\n"
    parts = [tabulate(head, minimum=0, padding=1)]
    for key, titles, row in _PARTS:
        if found := document.get(key):
            parts.append(_table(titles, [row(item) for item in found]))
    return "\n".join(parts)


def _argument(item: Mapping[str, Any]) -> tuple[str, ...]:
    return item["name"], item.get("value", ""), item.get("description", "")


def _required(item: Mapping[str, Any]) -> tuple[str, ...]:
    return item["name"], "true" if item.get("required") else ""


def _cache(item: Mapping[str, Any]) -> tuple[str, ...]:
    return item.get("target", ""), item.get("id", "")


_PARTS: tuple[tuple[str, tuple[str, ...], Callable[[Mapping[str, Any]], tuple[str, ...]]], ...] = (
    ("args", ("BUILD ARG", "VALUE", "DESCRIPTION"), _argument),
    ("secrets", ("SECRET", "REQUIRED"), _required),
    ("ssh", ("SSH", "REQUIRED"), _required),
    ("cache", ("CACHE MOUNT", "ID"), _cache),
)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, *([plain_text(cell) for cell in row] for row in rows)]
    return "".join(f"{line.rstrip()}\n" for line in tabulate("\n".join(map("\t".join, lines))).split("\n"))


def _json(document: Json) -> str:
    return json.dumps(document, indent=2) + "\n"
