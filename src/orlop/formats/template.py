"""Go templates as far as most ``--format`` options go: text, ``{{.A.B}}``, ``{{json .A}}``, and no more.

`parse` returns None for a template that needs more; then the caller takes a full implementation. What is understood
here renders as Go's text/template does: `go_text` prints a value, `go_json` encodes one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Field", "Part", "go_json", "go_quote", "go_text", "parse", "render", "unescape"]

_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_SIMPLE = re.compile(r"\s*(json\s+)?((?:\.[A-Za-z_][A-Za-z0-9_]*)+|\.)\s*\Z")


class Field:
    """A place in a template: the path of names from the top (empty for ``.``), printed or as JSON."""

    __slots__ = ("as_json", "path")

    def __init__(self, path: tuple[str, ...], *, as_json: bool) -> None:
        self.path = path
        self.as_json = as_json


Part = str | Field


def unescape(text: str) -> str:
    r"""Return a ``--format`` with its ``\t`` and ``\n`` made real, as docker's lists do before parsing."""
    return text.replace("\\t", "\t").replace("\\n", "\n")


def parse(text: str) -> tuple[Part, ...] | None:
    """Split a template into text and fields; None when it uses anything else (or is not well-formed)."""
    parts: list[Part] = []
    position = 0
    for match in _ACTION.finditer(text):
        simple = _SIMPLE.match(match[1])
        if simple is None:
            return None
        if position < match.start():
            parts.append(text[position : match.start()])
        names = tuple(name for name in simple[2].split(".") if name)
        parts.append(Field(names, as_json=simple[1] is not None))
        position = match.end()
    rest = text[position:]
    if "{{" in rest:
        return None
    if rest:
        parts.append(rest)
    return tuple(parts)


def render(parts: Iterable[Part], look_up: Callable[[tuple[str, ...]], Any]) -> str:
    """Render parsed parts; `look_up` finds the value of a path and may raise what it likes."""
    return "".join(
        part if isinstance(part, str) else (go_json if part.as_json else go_text)(look_up(part.path)) for part in parts
    )


def go_text(value: Any) -> str:
    """Return a JSON value as Go's template prints it (``%v``)."""
    if value is None:
        return "<no value>"
    return _verb(value)


def _verb(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_verb(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(_verb(item) for item in value) + "]"
    return str(value)


def go_json(value: Any, *, escape_html: bool = False) -> str:
    """Return a value as Go's encoding/json does: no blanks, and ``<``, ``>``, ``&`` escaped if wanted."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    if escape_html:
        text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return text


_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def go_quote(text: str) -> str:
    """Return `text` in quotes as Go's %q prints it."""
    return '"' + "".join(map(_quoted, text)) + '"'


def _quoted(char: str) -> str:
    code = ord(char)
    if code in _ESCAPES:
        return _ESCAPES[code]
    if char.isprintable():
        return char
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
