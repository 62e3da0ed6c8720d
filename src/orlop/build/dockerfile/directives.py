"""The parser directives at the top: ``# syntax=``, ``# escape=`` and ``# check=`` (Dockerfile reference).

They stand in front of everything else, comments and empty lines too; what is none of the three is a comment.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.dockerfile.tree import Directives, Range
from orlop.build.dockerfile.words import SPACE
from orlop.formats.template import go_quote

__all__ = ["CheckOptions", "Top", "check_options", "read_directives"]

_NAME = re.compile(r"([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=")
_BLANKS = "\t\n\f\r "
_KNOWN = frozenset(("syntax", "escape", "check"))
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What ``check=`` says: rules to skip and experimental rules to apply (``all`` is every one)."""

    skip: tuple[str, ...] = ()
    experimental: tuple[str, ...] = ()
    error: bool = False


@dataclass(frozen=True, slots=True)
class Top:
    """The directives, the place of ``syntax`` and how many lines they take."""

    directives: Directives
    syntax: Range | None
    lines: int


@dataclass(frozen=True, slots=True)
class _Found:
    value: str
    range: Range


def read_directives(lines: Sequence[str]) -> Top:
    """Return the directives of a Dockerfile. Raises `DockerfileError`.

    Behind a first line ``#!…``, which is a comment, ``syntax`` and ``check`` still count.
    """
    found = _read(lines, 0)
    used = len(found)
    if lines and lines[0].startswith("#!"):
        found = {name: found for name, found in _read(lines, 1).items() if name != "escape"}
    escape = found.get("escape")
    if escape is not None and escape.value not in ("`", "\\"):
        raise DockerfileError(f"invalid escape token '{escape.value}' does not match ` or \\", escape.range)
    check = found.get("check")
    options = _checked(check) if check else CheckOptions()
    syntax = found.get("syntax")
    directives = Directives(
        syntax.value.partition(" ")[0] if syntax else "",
        escape.value if escape else "\\",
        options.skip,
        options.error,
        options.experimental,
    )
    return Top(directives, syntax.range if syntax else None, used)


def check_options(text: str) -> CheckOptions:
    """Return the options of a check directive, ``skip=A,B;error=true``. Raises `ValueError` with the reason."""
    skip: tuple[str, ...] = ()
    experimental: tuple[str, ...] = ()
    error = False
    for part in text.split(";", 2) if text.strip(SPACE) else ():
        name, equals, value = part.partition("=")
        name, value = name.strip(SPACE), value.strip(SPACE)
        if not equals or name not in ("skip", "experimental", "error"):
            raise ValueError(f"invalid check option {go_quote(name if equals else part)}")
        if name == "error":
            if value not in _TRUE | _FALSE:
                reason = f"strconv.ParseBool: parsing {go_quote(value)}: invalid syntax"
                raise ValueError(f"failed to parse check option {go_quote(part)}: {reason}")
            error = value in _TRUE
        elif name == "skip":
            skip = tuple(rule.strip(SPACE) for rule in value.split(","))
        else:
            experimental = tuple(rule.strip(SPACE) for rule in value.split(","))
    return CheckOptions(skip, experimental, error)


def _checked(check: _Found) -> CheckOptions:
    try:
        return check_options(check.value.partition(" ")[0])
    except ValueError as error:
        raise DockerfileError(f"failed to parse check options: {error}", check.range) from None


def _read(lines: Sequence[str], first: int) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    for number in range(first, len(lines)):
        directive = _directive(lines[number])
        if directive is None:
            break
        name, value = directive
        place = Range(number + 1, number + 1)
        if name in found:
            raise DockerfileError(f"only one {name} parser directive can be used", place)
        found[name] = _Found(value, place)
    return found


def _directive(line: str) -> tuple[str, str] | None:
    text = line.rstrip("\r").lstrip(SPACE)
    if not text.startswith("#"):
        return None
    text = text[1:].lstrip(SPACE)
    name = _NAME.match(text)
    if name is None or name[1].lower() not in _KNOWN:
        return None
    rest = text[name.end() :]
    value = rest.strip(_BLANKS) or rest[-1:]  # a blank alone is a value, a wrong one
    return (name[1].lower(), value) if value else None
