"""From a request's method and path to its handler.

A pattern is a path of the API reference, ``/containers/{id}/json``; a name in braces takes one part of the path or
several, because names of images hold slashes. The version's prefix is not a part of it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from orlop.api.call import Answer, Call

__all__ = ["Handler", "Match", "Route", "Router", "split_target"]

Handler = Callable[[Call], Awaitable[Answer]]

_VERSION = re.compile(r"/v([0-9.]+)(/.*)", re.DOTALL | re.ASCII)
_NAME = re.compile(r"\{([a-z]+)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the API."""

    method: str
    pattern: str
    handler: Handler


@dataclass(frozen=True, slots=True)
class Match:
    """A route that was found, and what stands at the names of its pattern."""

    route: Route
    parts: Mapping[str, str]


class Router:
    """All routes; where several match, the pattern that says more wins."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._plain: dict[tuple[str, str], Match] = {}
        self._named: dict[tuple[str, str], list[tuple[re.Pattern[str], Route]]] = {}
        for route in sorted(routes, key=lambda route: -len(_NAME.sub("", route.pattern))):
            if "{" in route.pattern:
                expression = re.compile(_NAME.sub(r"(?P<\1>.+)", route.pattern), re.DOTALL)
                self._named.setdefault((route.method, _first(route.pattern)), []).append((expression, route))
            else:
                self._plain.setdefault((route.method, route.pattern), Match(route, {}))

    def find(self, method: str, path: str) -> Match | None:
        """Return the route of `path`, which is decoded and has no version, or None."""
        plain = self._plain.get((method, path))
        if plain is not None:
            return plain
        for expression, route in self._named.get((method, _first(path)), ()):
            found = expression.fullmatch(path)
            if found:
                return Match(route, found.groupdict())
        return None


def split_target(target: str) -> tuple[str, str, str]:
    """Split a request's target into the version ("" for none), the decoded path and the query."""
    if not target.isascii():  # aiohttp keeps bytes that are no UTF-8 as surrogates
        target = target.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    path, _, query = target.partition("?")
    path = unquote(path)
    versioned = _VERSION.fullmatch(path)
    return (versioned[1], versioned[2], query) if versioned else ("", path, query)


def _first(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else path
