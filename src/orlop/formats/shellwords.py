"""Words of Dockerfile instructions: split, freed of their quotes, with variables put in (Dockerfile reference, ENV).

``$name``, ``${name}`` and ``${name:-word}``, ``${name:+word}`` (without the colon an empty value counts as one) are put
in outside of single quotes. A backslash takes the next character as it is; inside double quotes only before ``"``,
``$`` and itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from orlop.errors import InvalidArgument

__all__ = ["split_words", "whole_word"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#]", re.ASCII)
_MAX_DEPTH = 16


def split_words(text: str, variables: Mapping[str, str]) -> list[str]:
    """Return the words that white space outside of quotes parts; what a variable holds is not split.

    >>> split_words('A="x y" B=$A', {"A": "1"})
    ['A=x y', 'B=1']
    """
    words: list[str] = []
    reader = _Reader(text, variables)
    while reader.skip_space():
        words.append(reader.word(ends=" \t"))
    return words


def whole_word(text: str, variables: Mapping[str, str]) -> str:
    """Return `text` as one word, white space and all."""
    return _Reader(text, variables).word(ends="")


class _Reader:
    def __init__(self, text: str, variables: Mapping[str, str], depth: int = 0) -> None:
        self._text = text
        self._variables = variables
        self._depth = depth
        self._at = 0

    def skip_space(self) -> bool:
        """Go to the next word; tell whether there is one."""
        while self._peek() and self._peek() in " \t":
            self._at += 1
        return self._at < len(self._text)

    def word(self, ends: str) -> str:
        """Read up to a character of `ends` that is not quoted."""
        parts: list[str] = []
        while (char := self._peek()) and char not in ends:
            self._at += 1
            if char == "'":
                parts.append(self._until_quote())
            elif char == '"':
                parts.append(self._double_quoted())
            elif char == "\\":
                parts.append(self._next() or "\\")
            elif char == "$":
                parts.append(self._variable())
            else:
                parts.append(char)
        return "".join(parts)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        char = self._peek()
        self._at += 1
        return char

    def _until_quote(self) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            raise InvalidArgument("unexpected end of statement while looking for matching single-quote")
        part, self._at = self._text[self._at : end], end + 1
        return part

    def _double_quoted(self) -> str:
        parts: list[str] = []
        while char := self._next():
            if char == '"':
                return "".join(parts)
            if char == "\\" and self._peek() and self._peek() in '"$\\':
                parts.append(self._next())
            elif char == "$":
                parts.append(self._variable())
            else:
                parts.append(char)
        raise InvalidArgument("unexpected end of statement while looking for matching double-quote")

    def _variable(self) -> str:
        braced = self._peek() == "{"
        found = _NAME.match(self._text, self._at + braced)
        if not found:
            if braced:
                raise InvalidArgument(f"bad substitution in {self._text!r}")
            return "$"
        self._at = found.end()
        value = self._variables.get(found[0])
        if not braced:
            return value or ""
        return self._modified(value)

    def _modified(self, value: str | None) -> str:
        """Read what stands behind a name in braces, and return what takes their place."""
        modifier = self._next()
        if modifier == "}":
            return value or ""
        if modifier == ":":
            value = value or None
            modifier = self._next()
        if modifier not in ("-", "+") or self._depth >= _MAX_DEPTH:
            raise InvalidArgument(f"unsupported modifier ({modifier}) in substitution")
        inner = _Reader(self._text, self._variables, self._depth + 1)
        inner._at = self._at
        word = inner.word(ends="}")
        self._at = inner._at
        if self._next() != "}":
            raise InvalidArgument("syntax error: missing '}'")
        if modifier == "-":
            return word if value is None else value
        return "" if value is None else word
