"""Patterns of ``${name#pattern}`` and its like: ``*`` is any text, ``?`` any character, a backslash takes the next one.

As in BuildKit there are no bracket expressions, and no wildcard matches a newline. Time grows with the text alone: the
positions that a pattern can be at are the bits of one number, and a text is read once from either end.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BadPattern", "Glob"]

_ANY, _MANY = "?", "*"


class BadPattern(ValueError):
    """The pattern is none."""


@dataclass(frozen=True, slots=True)
class _Token:
    """One step of a pattern: a literal character, or with `wild` one of the wildcards."""

    text: str
    wild: bool = False


class Glob:
    """A pattern that is to be found in texts. Raises `BadPattern`."""

    def __init__(self, pattern: str) -> None:
        tokens = _tokens(pattern)
        self._forward = _Machine(tokens)
        self._backward = _Machine(tokens[::-1])

    def without_prefix(self, text: str, *, longest: bool) -> str:
        """Return `text` without the beginning that matches."""
        end = self._forward.end(text, longest=longest)
        return text if end is None else text[end:]

    def without_suffix(self, text: str, *, longest: bool) -> str:
        """Return `text` without the end that matches."""
        end = self._backward.end(text[::-1], longest=longest)
        return text if end is None else text[: len(text) - end]

    def replaced(self, text: str, replacement: str, *, everywhere: bool) -> str:
        """Return `text` with the longest match that begins first, or with all of them, replaced."""
        starts = self._backward.every_end(text[::-1])  # of the text backwards: where a match can begin
        parts: list[str] = []
        position = kept = 0
        previous = -1  # where the last match ended
        while position <= len(text):
            if not starts[len(text) - position]:
                position += 1
                continue
            length = self._forward.end(text[position:], longest=True) or 0
            if length or position != previous:
                parts += [text[kept:position], replacement]
                kept = previous = position + length
                if not everywhere:
                    break
            position += length or 1
        return "".join([*parts, text[kept:]])


class _Machine:
    """Where a pattern can be after each character; bit n says that n tokens have been met."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._many = sum(1 << at for at, token in enumerate(tokens) if token == _Token(_MANY, wild=True))
        self._any = sum(1 << at for at, token in enumerate(tokens) if token == _Token(_ANY, wild=True))
        self._literal: dict[str, int] = {}
        for at, token in enumerate(tokens):
            if not token.wild:
                self._literal[token.text] = self._literal.get(token.text, 0) | 1 << at
        self._goal = 1 << len(tokens)
        self._start = self._free(1)

    def end(self, text: str, *, longest: bool) -> int | None:
        """Return how many characters at the beginning of `text` match, None if that is no number."""
        state, found = self._start, None
        for position in range(len(text) + 1):
            if state & self._goal:
                found = position
                if not longest:
                    break
            if not state or position == len(text):
                break
            state = self._step(state, text[position])
        return found

    def every_end(self, text: str) -> list[bool]:
        """Tell for each position, the end too, whether a match that began anywhere can end there."""
        state = self._start
        ends = [bool(state & self._goal)]
        for char in text:
            state = self._step(state, char) | self._start
            ends.append(bool(state & self._goal))
        return ends

    def _step(self, state: int, char: str) -> int:
        met = self._literal.get(char, 0)
        stays = 0
        if char != "\n":
            met |= self._any
            stays = state & self._many
        return self._free((state & met) << 1 | stays)

    def _free(self, state: int) -> int:
        """A ``*`` may be nothing; there are never two in a row."""
        return state | (state & self._many) << 1


def _tokens(pattern: str) -> list[_Token]:
    tokens: list[_Token] = []
    chars = iter(pattern)
    for char in chars:
        if char == "\\":
            char = next(chars, "")
            if char not in ("*", "?", "\\", "}", "/"):
                raise BadPattern(f"invalid escape '\\{char}'")
            tokens.append(_Token(char))
        elif char != _MANY or not tokens or tokens[-1] != _Token(_MANY, wild=True):
            tokens.append(_Token(char, wild=char in (_ANY, _MANY)))
    return tokens
