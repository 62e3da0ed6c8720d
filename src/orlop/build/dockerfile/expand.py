"""Expansion of the words of a Dockerfile: variables put in, quotes taken off (`orlop.formats.shellwords`).

An `Expander` does that within bounds: values that double from line to line must not take all memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from orlop.errors import InvalidArgument
from orlop.formats.shellwords import Expanded, expanded

__all__ = ["Expanded", "Expander", "expand", "expand_heredoc", "expand_words"]

_ALLOWANCE = 128 << 20
_PLAIN = re.compile(r"[a-zA-Z0-9_./:=-]*")
_NAME = re.compile(r"\$\{?([a-zA-Z0-9_]+)")
_REPLACEMENT = re.compile(r"\$\{[a-zA-Z0-9_]+//")


def expand(text: str, variables: Mapping[str, str], *, escape: str = "\\") -> Expanded:
    """Expand `text` as one word. Raises `InvalidArgument` (``failed to process "…": …``)."""
    return expanded(text, variables, escape=escape)


def expand_words(text: str, variables: Mapping[str, str], *, escape: str = "\\") -> list[str]:
    """Return the words that `text` becomes. Raises `InvalidArgument`."""
    return list(expanded(text, variables, escape=escape).words)


def expand_heredoc(text: str, variables: Mapping[str, str]) -> Expanded:
    """Expand the variables of a heredoc, whose quotes are its own. Raises `InvalidArgument`."""
    return expanded(text, variables, quotes=False)


class Expander:
    """Expands the words of one Dockerfile; all that it makes, and all else that is said to `spend`, is bounded."""

    def __init__(self, escape: str = "\\") -> None:
        self._escape = escape
        self._allowance = _ALLOWANCE

    def spend(self, size: int) -> None:
        """Account for `size` characters that are kept. Raises `InvalidArgument` when they are too many."""
        self._allowance -= size
        if self._allowance < 0:
            raise InvalidArgument("the Dockerfile is too large when its variables are expanded")

    def word(self, text: str, variables: Mapping[str, str]) -> Expanded:
        """Expand a word and take its quotes off."""
        self.spend(len(text))
        if _PLAIN.fullmatch(text):  # as most are
            return Expanded(text, (text,) if text else (), frozenset())
        self._check(text, variables)
        result = expand(text, variables, escape=self._escape)
        self.spend(len(result.text))
        return result

    def words(self, text: str, variables: Mapping[str, str]) -> tuple[str, ...]:
        """Expand a word that may become several."""
        self._check(text, variables)
        words = tuple(expand_words(text, variables, escape=self._escape))
        self.spend(sum(map(len, words)))
        return words

    def heredoc(self, text: str, variables: Mapping[str, str]) -> Expanded:
        """Expand the variables of a heredoc, whose quotes are its own."""
        self._check(text, variables)
        result = expand_heredoc(text, variables)
        self.spend(len(result.text))
        return result

    def _check(self, text: str, variables: Mapping[str, str]) -> None:
        """Refuse a word before it is expanded if what comes of it could be too large."""
        count = text.count("$")
        if not count:
            return
        longest = max((len(variables.get(name, "")) for name in set(_NAME.findall(text))), default=0)
        if _REPLACEMENT.search(text):  # each character may be replaced by another value
            longest *= max(longest, len(text))
        if count * longest > _ALLOWANCE:
            raise InvalidArgument("the Dockerfile is too large when its variables are expanded")
