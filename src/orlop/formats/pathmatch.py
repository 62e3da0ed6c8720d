"""Patterns of file names as Go's ``filepath.Match`` has them: what the sources of COPY may be written with.

``*`` is any text without a slash, ``?`` a character that is none, ``[a-z]`` and ``[^a-z]`` one of a class; a backslash
takes the next character as it is. The whole name has to match. Time grows with the product of both lengths at most.
As in Go 1.16 and later, what is wrong behind a ``*`` is seen only if all before it has matched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["BadPattern", "has_wildcards", "match"]


class BadPattern(ValueError):
    """The pattern is none."""

    def __init__(self) -> None:
        super().__init__("syntax error in pattern")


@dataclass(frozen=True, slots=True)
class _One:
    """One character: of one of the `ranges`, or with `negated` of none; with `wild` never a slash."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool = False
    wild: bool = False

    def takes(self, char: str) -> bool:
        if self.wild and char == "/":
            return False
        return any(low <= char <= high for low, high in self.ranges) is not self.negated


_MANY = None
_Pattern = Sequence[_One | None]


def match(pattern: str, name: str) -> bool:
    """Tell whether `name` matches the whole `pattern`. Raises `BadPattern`."""
    tokens, wrong = _tokens(pattern)
    if wrong and not tokens:
        raise BadPattern
    at = position = 0
    star, resumed = -1, 0  # the last ``*``, and what it leaves to the rest
    while position < len(name):
        token = tokens[at] if at < len(tokens) else None
        if at < len(tokens) and token is _MANY:
            star, resumed = at, position
            at += 1
            if wrong and at == len(tokens):
                raise BadPattern
        elif token is not None and token.takes(name[position]):
            at += 1
            position += 1
        elif star >= 0 and name[resumed] != "/":
            resumed += 1
            at, position = star + 1, resumed
        else:
            return False
    matched = all(token is _MANY for token in tokens[at:])
    if matched and wrong:
        raise BadPattern
    return matched


def has_wildcards(pattern: str) -> bool:
    """Tell whether a pattern may match anything but itself."""
    return any(char in pattern for char in "*?[\\")


@lru_cache(maxsize=256)
def _tokens(pattern: str) -> tuple[_Pattern, bool]:
    """Return the tokens of a pattern; True with those up to a ``*`` behind which something is wrong."""
    tokens: list[_One | None] = []
    chars = iter(pattern)
    try:
        for char in chars:
            tokens.append(_MANY if char == "*" else _token(char, chars))
    except BadPattern:
        while tokens and tokens[-1] is not _MANY:
            tokens.pop()
        return tuple(tokens), True
    return tuple(tokens), False


def _token(char: str, chars: Iterator[str]) -> _One:
    if char == "?":
        return _One((), negated=True, wild=True)
    if char == "[":
        return _class(chars)
    literal = _escaped(char, chars)
    return _One(((literal, literal),))


def _escaped(char: str, chars: Iterator[str]) -> str:
    if char != "\\":
        return char
    taken = next(chars, "")
    if not taken:
        raise BadPattern
    return taken


def _class(chars: Iterator[str]) -> _One:
    char = next(chars, "")
    negated = char == "^"
    if negated:
        char = next(chars, "")
    ranges: list[tuple[str, str]] = []
    while char != "]" or not ranges:
        low = _bound(char, chars)
        high = low
        char = next(chars, "")
        if char == "-":
            high = _bound(next(chars, ""), chars)
            char = next(chars, "")
        ranges.append((low, high))
        if not char:
            raise BadPattern
    return _One(tuple(ranges), negated)


def _bound(char: str, chars: Iterator[str]) -> str:
    if char in ("", "-", "]"):
        raise BadPattern
    return _escaped(char, chars)
