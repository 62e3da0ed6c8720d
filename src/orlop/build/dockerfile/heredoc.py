"""Heredocs: which words of a line begin one, what ends it, and what it holds (Dockerfile reference, "Here-documents").

Words are found as a shell would: quotes, escapes and ``${…}`` belong to them. A line that makes no sense to a shell
(a quote that nothing ends) has no heredocs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from orlop.build.dockerfile.words import SPACE

__all__ = ["Opening", "opening", "openings", "without_tabs"]

_OPENING = re.compile(r"([0-9]*)<<(-?)[\t\n\f\r ]*([^<]*)")
_AFTER = re.compile(r"<<[\t\r ]*")
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)
_SEGMENT = re.compile(
    r"""'(?P<single>[^']*)'|"(?P<double>[^"\\]*(?:\\.[^"\\]*)*)"|\\(?P<escaped>.?)|(?P<plain>.)""", re.DOTALL
)
_UNESCAPE = re.compile(r'\\(["$\\])')
_SPECIAL_NAMES = "@*#?-$!"
_NAME = re.compile(r"\d+|\w*")
_LARGEST_DESCRIPTOR = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Opening:
    """A word ``3<<-"EOF"``: `tabs` says that leading tabs are removed, `expand` that nothing of its name was quoted."""

    name: str
    expand: bool
    tabs: bool
    descriptor: int


def openings(line: str) -> tuple[Opening, ...]:
    """Return the heredocs that the words of `line` begin, in their order."""
    if "<<" not in line:
        return ()
    try:
        return tuple(found for word in list(_shell_words(line)) if (found := opening(word)) is not None)
    except _Senseless:
        return ()


def opening(word: str) -> Opening | None:
    """Return the heredoc that `word` begins, None if it begins none."""
    match = _OPENING.fullmatch(word)
    named = _unquoted(match[3]) if match else None
    if match is None or named is None:
        return None
    name, quoted = named
    descriptor = min(int(match[1][:21] or "0"), _LARGEST_DESCRIPTOR)
    return Opening(name, not quoted, bool(match[2]), descriptor)


def without_tabs(text: str) -> str:
    """Return `text` without the tabs at the beginning of its lines."""
    return _LEADING_TABS.sub("", text)


def _unquoted(word: str) -> tuple[str, bool] | None:
    """Return a heredoc's name and whether quotes were used; None where it is no single word."""
    name: list[str] = []
    quoted = False
    for segment in _SEGMENT.finditer(word):
        match segment.lastgroup:
            case "single":
                name.append(segment["single"])
                quoted = True
            case "double":
                name.append(_UNESCAPE.sub(r"\1", segment["double"]))
                quoted = True
            case "escaped":
                name.append(segment["escaped"])
            case _ if segment[0] in SPACE or segment[0] in "'\"":
                return None
            case _:
                name.append(segment[0])
    return ("".join(name), quoted) if any(name) else None


class _Senseless(Exception):
    """A line that no shell would take."""


def _shell_words(line: str) -> Iterator[str]:
    """Yield the words of `line` as they are written. Raises `_Senseless`."""
    begin: int | None = None
    pending: list[str] = []  # what ends the quotes and substitutions that are open, innermost last
    position = 0
    while position < len(line):
        char = line[position]
        if not pending and char in SPACE:
            if begin is not None:
                yield line[begin:position]
                begin = None
            position += 1
            continue
        if begin is None:
            begin = position
        position = _step(line, position, pending)
    if pending:
        raise _Senseless
    if begin is not None:
        yield line[begin:]


def _step(line: str, position: int, pending: list[str]) -> int:
    """Return where the piece at `position` ends; `pending` changes with what it opens or ends."""
    char = line[position]
    if pending and char == pending[-1]:
        pending.pop()
        if char == "/":  # of ${name/pattern/replacement}
            pending.append("}")
        return position + 1
    if char == "\\":
        return position + 2
    if char == "$":
        return _dollar(line, position + 1, pending)
    if pending and pending[-1] == '"':
        return position + 1
    if char == "'":
        end = line.find("'", position + 1)
        if end < 0:
            raise _Senseless
        return end + 1
    if char == '"':
        pending.append('"')
        return position + 1
    after = _AFTER.match(line, position)
    return after.end() if after else position + 1


def _dollar(line: str, position: int, pending: list[str]) -> int:
    """Return where the substitution, of which `position` is behind the ``$``, goes on."""
    if not line.startswith("{", position):
        return _name_end(line, position)
    position += 1
    if line[position : position + 1] in ("", "{", "}", ":"):
        raise _Senseless
    position = _name_end(line, position)
    operator = line[position : position + 1]
    if operator == "}":
        return position + 1
    if operator == "/":
        pending.append("/")
        return position + (2 if line.startswith("//", position) else 1)
    if operator == ":" and line[position + 1 : position + 2] not in ("", "#", "%"):
        pending.append("}")
        return position + 2
    if operator and operator in "+-?#%":
        pending.append("}")
        return position + 1
    raise _Senseless


def _name_end(line: str, position: int) -> int:
    if line[position : position + 1] and line[position] in _SPECIAL_NAMES:
        return position + 1
    name = _NAME.match(line, position)
    return name.end() if name else position
