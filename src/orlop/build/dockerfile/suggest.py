"""The word that was meant: the nearest by edit distance, if it is near enough."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["nearest", "suggested"]

_TOO_FAR = 3  # edits: as BuildKit


def suggested(message: str, word: str, options: Iterable[str], *, ignore_case: bool = False) -> str:
    """Return `message` with the option that was meant by `word`: ``… (did you mean RUN?)``."""
    option = nearest(word, options, ignore_case=ignore_case)
    return f"{message} (did you mean {option}?)" if option else message


def nearest(word: str, options: Iterable[str], *, ignore_case: bool = False) -> str:
    """Return the option that is nearest to `word`, the first of several; "" where none is near or one is the same.

    With `ignore_case` the answer is in capitals if `word` is, else in lower case.
    """
    wanted = word.lower() if ignore_case else word
    best, distance = "", _TOO_FAR
    for option in options:
        candidate = option.lower() if ignore_case else option
        if candidate == wanted:
            return ""
        found = _distance(wanted, candidate, distance)
        if found < distance:
            best, distance = candidate, found
    return best.upper() if ignore_case and word == word.upper() and word != word.lower() else best


def _distance(one: str, other: str, limit: int) -> int:
    """Return the Levenshtein distance, `limit` if it is that or more."""
    if abs(len(one) - len(other)) >= limit:
        return limit
    row = list(range(len(other) + 1))
    for i, char in enumerate(one, 1):
        previous, row[0] = row[0], i
        for j, wanted in enumerate(other, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (char != wanted))
        if min(row) >= limit:
            return limit
    return min(row[-1], limit)
