"""Regular expressions that clients send: those of Go (https://golang.org/s/re2syntax), as in dockerd, by RE2.

The time that a search takes grows with the text and nothing else, whatever the expression: Python's own `re` can be
kept busy for ever by ``(a+)+$``, and nothing else of the process runs then. What most clients send, a literal with or
without anchors, is compared without it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

__all__ = ["BadExpression", "Several", "check", "found"]

_LITERAL = re.compile(r"(\^?)([\w/: ,@=-]*)(\$?)", re.ASCII)
_MAX_MEMORY = 1 << 20  # bytes for one compiled expression; RE2's Python part keeps 128 of them
_MAX_MEMORY_OF_SEVERAL = 1 << 26
_MAX_LENGTH_OF_SEVERAL = 1 << 17  # characters of all expressions: what that memory is enough for, four times over


class BadExpression(Exception):
    """What should be a regular expression is none, or one that takes too much memory."""


def check(expression: str) -> None:
    """Raise `BadExpression` with the reason if `expression` is none."""
    if not _LITERAL.fullmatch(expression):
        _compiled(expression)


def found(expression: str, text: str) -> bool:
    """Tell whether `expression` is found somewhere in `text`. Raises `BadExpression`.

    >>> found("^/web[0-9]+$", "/web12")
    True
    """
    literal = _LITERAL.fullmatch(expression)
    if literal is None:
        return _compiled(expression).search(text.encode(errors="surrogatepass")) is not None
    start, word, end = literal.groups()
    if start:
        return text == word if end else text.startswith(word)
    return text.endswith(word) if end else word in text


class Several:
    """Expressions that are looked for together, in one pass over a text. Raises `BadExpression`."""

    def __init__(self, expressions: Sequence[str]) -> None:
        if sum(map(len, expressions)) > _MAX_LENGTH_OF_SEVERAL:
            raise BadExpression("the regular expressions are too long")
        import re2

        options = _options(_MAX_MEMORY_OF_SEVERAL)
        options.never_capture = True
        self._set = re2.Set.SearchSet(options)
        try:
            for expression in expressions:
                self._set.Add(expression.encode(errors="surrogatepass"))
            self._set.Compile()
        except re2.error as error:
            raise BadExpression(f"error parsing regexp: {_reason(error)}") from None

    def found(self, text: str) -> list[int]:
        """Return the places of those expressions that are found somewhere in `text`, in no order."""
        places: list[int] = self._set.Match(text.encode(errors="surrogatepass")) or []
        return places


def _compiled(expression: str) -> Any:
    import re2  # 20 ms and 4 MB that most daemons never need

    try:
        return re2.compile(expression.encode(errors="surrogatepass"), _options(_MAX_MEMORY))
    except re2.error as error:
        raise BadExpression(f"error parsing regexp: {_reason(error)}") from None


def _options(memory: int) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = memory
    return options


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
