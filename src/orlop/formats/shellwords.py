"""Words of Dockerfile instructions: split, freed of their quotes, with variables put in (Dockerfile reference).

``$name`` and ``${name}`` are put in outside of single quotes; so are ``${name:-word}``, ``${name:+word}`` and
``${name:?message}`` (without the colon an empty value counts as one), ``${name#pattern}``, ``##``, ``%``, ``%%`` and
``${name/pattern/replacement}``, ``//``. The escape character takes the next character as it is; inside double quotes
only before ``"``, ``$`` and itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from orlop.errors import InvalidArgument
from orlop.formats.glob import BadPattern, Glob

__all__ = ["Expanded", "expanded", "raw_words", "split_words", "whole_word"]

_SPECIAL = "@*#?-$!"
_MAX_DEPTH = 100
_RAW_WORD = re.compile(r"""(?:[^\s'"\\]|\\.?|'[^']*(?:'|$)|"(?:[^"\\]|\\.?)*(?:"|$))+""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Expanded:
    """An expanded word: as one text, and as the words that white space outside of quotes parts.

    `unset` are the names that were used and have no value, `used` those that have one.
    """

    text: str
    words: tuple[str, ...]
    unset: frozenset[str]
    used: frozenset[str] = frozenset()


def expanded(text: str, variables: Mapping[str, str], *, escape: str = "\\", quotes: bool = True) -> Expanded:
    """Expand a word. Without `quotes` these are ordinary characters, as in a heredoc. Raises `InvalidArgument`."""
    reader = _Reader(text, variables, escape, quotes)
    try:
        result = reader.until("")
    except _Wrong as wrong:
        raise InvalidArgument(f"failed to process {json.dumps(text, ensure_ascii=False)}: {wrong}") from None
    return Expanded(result.text(), result.words(), frozenset(reader.unset), frozenset(reader.used))


def split_words(text: str, variables: Mapping[str, str]) -> list[str]:
    """Return the words that white space outside of quotes parts; what a variable holds is split, too.

    >>> split_words('A="x y" B=$A', {"A": "1"})
    ['A=x y', 'B=1']
    """
    return list(expanded(text, variables).words)


def raw_words(text: str) -> list[str]:
    """Return the words that white space outside of quotes parts, as they are written.

    >>> raw_words('A="x y" B=$A')
    ['A="x y"', 'B=$A']
    """
    return [found[0] for found in _RAW_WORD.finditer(text)]


def whole_word(text: str, variables: Mapping[str, str]) -> str:
    """Return `text` as one word, white space and all."""
    return expanded(text, variables).text


class _Wrong(Exception):
    """The text cannot be expanded."""


@dataclass(slots=True)
class _Pieces:
    """What was read: pieces, and whether each is to be split at white space."""

    pieces: list[tuple[str, bool]] = field(default_factory=list)

    def add(self, text: str, *, splits: bool = False) -> None:
        self.pieces.append((text, splits))

    def text(self) -> str:
        return "".join(text for text, _ in self.pieces)

    def words(self) -> tuple[str, ...]:
        words: list[str] = []
        current: list[str] = []

        def end() -> None:
            if word := "".join(current):
                words.append(word)
            current.clear()

        for text, splits in self.pieces:
            if not splits:
                current.append(text)
                continue
            if text[:1].isspace():
                end()
            parts = text.split()
            for index, part in enumerate(parts):
                if index:
                    end()
                current.append(part)
            if parts and text[-1].isspace():
                end()
        end()
        return tuple(words)


class _Reader:
    """Reads a text from its beginning to its end, once."""

    def __init__(self, text: str, variables: Mapping[str, str], escape: str, quotes: bool) -> None:
        self.unset: set[str] = set()
        self.used: set[str] = set()
        self._text = text
        self._variables = variables
        self._escape = escape
        self._special = {"$", escape, *("'\"" if quotes else "")}
        self._at = 0
        self._depth = 0

    def until(self, stop: str, *, raw: bool = False, pattern: bool = False) -> _Pieces:
        """Read up to an unquoted `stop` ("" for the end), which is skipped.

        With `raw` escape characters stay in front of what they take; in a `pattern` a quoted one takes itself.
        """
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _Wrong("substitutions are nested too deep")
        result = _Pieces()
        while char := self._next():
            if char == stop:
                self._depth -= 1
                return result
            if char not in self._special:
                result.add(char + self._plain(stop), splits=True)
            elif char == "$":
                result.add(self._variable(), splits=True)
            elif char == self._escape:
                taken = self._next()
                result.add((char if raw else "") + taken)
            elif char == "'":
                result.add(self._single_quoted(pattern))
            else:
                result.add(self._double_quoted(raw, pattern))
        if stop:
            raise _Wrong(f"unexpected end of statement while looking for matching {stop}")
        return result

    def _next(self) -> str:
        char = self._text[self._at : self._at + 1]
        self._at += 1
        return char

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _plain(self, stop: str) -> str:
        """Read what follows of ordinary characters."""
        start = self._at
        while (char := self._peek()) and char not in self._special and char != stop:
            self._at += 1
        return self._text[start : self._at]

    def _single_quoted(self, pattern: bool) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            self._at = len(self._text) + 1
            raise _Wrong("unexpected end of statement while looking for matching single-quote")
        part, self._at = self._text[self._at : end], end + 1
        return part.replace(self._escape, self._escape * 2) if pattern else part

    def _double_quoted(self, raw: bool, pattern: bool) -> str:
        parts: list[str] = []
        while char := self._next():
            if char == '"':
                return "".join(parts)
            if char == "$":
                parts.append(self._variable())
                continue
            if char == self._escape:
                following = self._peek()
                if not following:
                    continue
                if following in ('"', "$", self._escape):
                    parts.append(char if raw else "")
                    char = self._next()
                elif raw or pattern:
                    parts.append(char)
            parts.append(char)
        raise _Wrong("unexpected end of statement while looking for matching double-quote")

    def _variable(self) -> str:
        """Read what stands behind a dollar sign, and return what takes its place."""
        if self._peek() != "{":
            name = self._name()
            return self._value(name) or "" if name else "$"
        self._at += 1
        if not self._peek():
            raise _Wrong("syntax error: missing '}'")
        if self._peek() in "{}:":
            raise _Wrong("syntax error: bad substitution")
        name = self._name()
        value = self._value(name)
        modifier = self._next()
        if modifier == "}":
            return value or ""
        if modifier in ("#", "%"):
            return self._trimmed(value or "", modifier)
        if modifier == "/":
            return self._replaced(value or "")
        if modifier == ":":
            value = value or None if self._peek() != "?" else value
            modifier += self._next()
        return self._chosen(name, value, modifier)

    def _chosen(self, name: str, value: str | None, modifier: str) -> str:
        if not modifier:
            raise _Wrong("syntax error: missing '}'")
        known = modifier[-1] in "-+?"
        word = self._inner("}") if known or (modifier[0] == ":" and modifier[-1] not in "#%") else ""
        if not known:
            raise _Wrong(f"unsupported modifier ({modifier}) in substitution")
        if modifier[-1] == "-":
            return word if value is None else value
        if modifier[-1] == "+":
            return "" if value is None else word
        if value is None:
            raise _Wrong(f"{name}: {word or 'is not allowed to be unset'}")
        if modifier == ":?" and not value:
            raise _Wrong(f"{name}: {word or 'is not allowed to be empty'}")
        return value

    def _trimmed(self, value: str, modifier: str) -> str:
        word = self._inner("}", raw=True, pattern=True)
        longest = word.startswith(modifier)
        glob = _glob(word[1:] if longest else word)
        if modifier == "#":
            return glob.without_prefix(value, longest=longest)
        return glob.without_suffix(value, longest=longest)

    def _replaced(self, value: str) -> str:
        everywhere = self._peek() == "/"
        self._at += everywhere
        pattern = self._inner("/", raw=True, pattern=True)
        replacement = self._inner("}", raw=True)
        return _glob(pattern).replaced(value, replacement, everywhere=everywhere)

    def _inner(self, stop: str, *, raw: bool = False, pattern: bool = False) -> str:
        try:
            return self.until(stop, raw=raw, pattern=pattern).text()
        except _Wrong:
            if self._at < len(self._text):
                raise
            missing = "'}'" if stop == "}" else "'/' in ${}"
            raise _Wrong(f"syntax error: missing {missing}") from None

    def _name(self) -> str:
        start = self._at
        first = self._next()
        if first and first in _SPECIAL:
            return first
        if first.isdecimal():
            while self._peek().isdecimal():
                self._at += 1
            return self._text[start : self._at]
        self._at = start
        while (char := self._peek()) and (char == "_" or char.isalpha() or char.isdecimal()):
            self._at += 1
        return self._text[start : self._at]

    def _value(self, name: str) -> str | None:
        value = self._variables.get(name)
        (self.unset if value is None else self.used).add(name)
        return value


def _glob(pattern: str) -> Glob:
    try:
        return Glob(pattern)
    except BadPattern as error:
        raise _Wrong(f"invalid pattern ({pattern}) in substitution: {error}") from None
