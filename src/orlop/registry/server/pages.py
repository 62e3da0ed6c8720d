"""Pagination: a list that is too long is cut, and the Link header says where to go on (RFC 8288). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from orlop.registry.server.failure import Failure

__all__ = ["Page", "cut", "link", "number"]

_MAX_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a list; `more` tells whether there are others behind it."""

    items: list[str]
    more: bool


def number(text: str | None) -> int | None:
    """Return the parameter ``n``, None if it is not given. Raises `Failure`."""
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS:
        raise Failure("PAGINATION_NUMBER_INVALID", detail={"n": text[:64]})
    return int(text)


def cut(
    items: Iterable[str],
    last: str | None,
    n: int | None,
    order: Callable[[str], tuple[str, ...]] = lambda item: (item,),
) -> Page:
    """Return up to `n` items that stand behind `last`, which need not be one of them, in their order."""
    ordered = sorted(items, key=order)
    if last is not None:
        ordered = [item for item in ordered if order(item) > order(last)]
    if n is None:
        return Page(ordered, False)
    return Page(ordered[:n], 0 < n < len(ordered))


def link(path: str, page: Page, n: int | None, **parameters: str) -> dict[str, str]:
    """Return the header that leads to the next page of `path`, none behind the last one."""
    if not page.more:
        return {}
    query = urlencode({**parameters, **({} if n is None else {"n": n}), "last": page.items[-1]})
    return {"Link": f'<{path}?{query}>; rel="next"'}
