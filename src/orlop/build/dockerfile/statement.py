"""Statements: instructions taken apart by their form alone, before anything is known of what their words mean."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orlop.build.dockerfile import words
from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.dockerfile.heredoc import openings, without_tabs
from orlop.build.dockerfile.lexer import Lexer, Line
from orlop.build.dockerfile.suggest import suggested
from orlop.build.dockerfile.tree import Flag, Heredoc, Range
from orlop.build.dockerfile.words import Head
from orlop.formats.template import go_quote

__all__ = ["Statement", "next_statement"]

_COMMANDS = frozenset(("run", "cmd", "entrypoint", "shell"))
_LISTS = frozenset(("add", "copy", "volume"))
_BLANK_SEPARATED = frozenset(("from", "expose"))
_PAIRS = frozenset(("env", "label"))
_SINGLE = frozenset(("maintainer", "stopsignal", "user", "workdir"))
_OTHERS = frozenset(("arg", "healthcheck", "onbuild"))
_NAMES = tuple(sorted(_COMMANDS | _LISTS | _BLANK_SEPARATED | _PAIRS | _SINGLE | _OTHERS))
_WITH_HEREDOCS = frozenset(("add", "copy", "run"))


class _Wrong(Exception):
    """An instruction that is none, or whose words do not have the form that it wants."""


@dataclass(frozen=True, slots=True)
class Statement:
    """An instruction by its form: its `word` as it is spelled, its `name` in lower case, flags and words.

    `arguments` of ENV and LABEL are name, value and ``=`` (or "") in turn. `line` is where it stands, `text` all of it,
    `carried` what ONBUILD holds.
    """

    word: str
    name: str
    flags: tuple[Flag, ...]
    arguments: tuple[str, ...]
    line: Line
    range: Range
    text: str
    json: bool = False
    carried: Statement | None = None
    heredocs: tuple[Heredoc, ...] = ()

    def error(self, detail: str, range: Range | None = None) -> DockerfileError:
        """Return an error about this statement, or about `range` in it."""
        return DockerfileError(detail, range or self.range, line=self.line.range.line)


def next_statement(lexer: Lexer, escape: str) -> Statement | None:
    """Return the next instruction with its heredocs, None at the end. Raises `DockerfileError`."""
    line = lexer.line()
    if line is None:
        return None
    statement = _statement(line, line.range, 0, escape)
    holder = statement.carried or statement
    if holder.name not in _WITH_HEREDOCS or holder.json:
        return statement
    return _with_heredocs(statement, lexer)


def _with_heredocs(statement: Statement, lexer: Lexer) -> Statement:
    """Return `statement` with the heredocs that follow it."""
    heredocs: list[Heredoc] = []
    for opened in openings(statement.line.text):
        text, place = lexer.heredoc(opened.name, tabs=opened.tabs, owner=statement.range)
        shown = without_tabs(text) if opened.tabs else text
        heredocs.append(Heredoc(opened.name, shown, opened.expand, place, opened.descriptor, text))
    if not heredocs:
        return statement
    whole = replace(statement.range, end=heredocs[-1].range.end)
    carried = statement.carried and replace(
        statement.carried, heredocs=tuple(heredocs), range=replace(statement.carried.range, end=whole.end)
    )
    return replace(statement, heredocs=tuple(heredocs), range=whole, carried=carried)


def _statement(line: Line, place: Range, start: int, escape: str) -> Statement:
    """Return the statement that begins in `line` at `start`, which is `place` in the source."""
    head = words.split_head(line.text, escape, start)
    name = head.word.lower()
    arguments: tuple[str, ...] = ()
    json = False
    carried = None
    try:
        if name == "onbuild":
            carried = _carried(line, place, head, escape)
        else:
            arguments, json = _arguments(name, head, escape)
    except words.NotStrings:
        message = "when using JSON array syntax, arrays must be comprised of strings only"
        raise DockerfileError(message, place, line=line.range.line) from None
    except _Wrong as wrong:
        raise DockerfileError(str(wrong), place, line=line.range.line) from None
    flags = tuple(_flag(text, line.place(offset)) for offset, text in head.flags)
    return Statement(head.word, name, flags, arguments, line, place, line.text[start:], json, carried)


def _carried(line: Line, outer: Range, head: Head, escape: str) -> Statement | None:
    """Return what an ONBUILD carries, None if it carries nothing. Raises `_Wrong`."""
    if not head.rest:
        return None
    word = words.split_head(line.text, escape, head.offset).word
    if word.lower() == "onbuild":  # also what bounds the depth
        raise _Wrong("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    return _statement(line, replace(line.place(head.offset), end=outer.end), head.offset, escape)


def _flag(text: str, place: Range) -> Flag:
    name, equals, value = text.removeprefix("--").partition("=")
    return Flag(name, value if equals else None, place)


def _arguments(name: str, head: Head, escape: str) -> tuple[tuple[str, ...], bool]:
    """Return the words of an instruction, and whether they stood in the JSON form. Raises `_Wrong` and `NotStrings`."""
    rest = head.rest
    if name not in _NAMES:
        known = (other.upper() for other in _NAMES)
        raise _Wrong(suggested(f"unknown instruction: {head.word}", head.word, known, ignore_case=True))
    if name == "healthcheck":
        kind, command = words.first_word(rest)
        arguments = words.json_words(command)
        if arguments is None:
            return ((kind, command) if command else (kind,) if kind else ()), False
        return (kind, *arguments), True
    if name in _COMMANDS or name in _LISTS:
        arguments = words.json_words(rest)
        if arguments is not None:
            return arguments, True
    if name in _LISTS or name in _BLANK_SEPARATED:
        return words.blank_words(rest), False
    if name == "arg":
        return tuple(words.quoted_words(rest, escape)), False
    if name in _PAIRS:
        return _pairs(name, rest, escape), False
    return ((rest,) if rest else ()), False


def _pairs(name: str, rest: str, escape: str) -> tuple[str, ...]:
    """Return names and values, each pair with the ``=`` between them, or "" for the old form with a blank."""
    found = words.quoted_words(rest, escape)
    if not found:
        return ()
    if "=" not in found[0]:
        parts = words.split_once(rest)
        if parts is None:
            raise _Wrong(f"{name.upper()} must have two arguments")
        return (*parts, "")
    pairs: list[str] = []
    for word in found:
        key, equals, value = word.partition("=")
        if not equals:
            raise _Wrong(f"Syntax error - can't find = in {go_quote(word)}. Must be of the form: name=value")
        pairs += (key, value, "=")
    return tuple(pairs)
