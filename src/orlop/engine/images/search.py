"""`GET /images/search`: repositories whose name or description has a word, by Docker Hub or a registry like it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.engine.images import registries
from orlop.errors import InvalidArgument
from orlop.formats.filters import Filters

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["FILTERS", "search"]

Json = dict[str, Any]

FILTERS = ("is-automated", "is-official", "stars")
_DEFAULT_LIMIT = 25
_MAX_LIMIT = 100


async def search(
    engine: Engine, term: str, *, limit: int = 0, filters: Filters | None = None, auth: str = ""
) -> list[Json]:
    """Return the repositories that `term` finds, `limit` (25) at most. Raises `errors.Error` with dockerd's words."""
    filters = filters or Filters()
    if filters.boolean("is-automated"):
        return []  # there are none any more
    official = filters.boolean("is-official") if filters.has("is-official") else None
    stars = max((_stars(value) for value in filters.get("stars")), default=0)
    if "://" in term:
        raise InvalidArgument(f"invalid repository name: repository name ({term}) should not have a scheme")
    limit = limit or _DEFAULT_LIMIT
    if not 1 <= limit <= _MAX_LIMIT:
        raise InvalidArgument(f"limit {limit} is outside the range of [1, {_MAX_LIMIT}]")
    async with registries.client(engine, registries.optional_credentials(auth)) as client:
        found = await client.search(term, limit)
    return [
        {
            "star_count": item.star_count,
            "is_official": item.is_official,
            "name": item.name,
            "is_automated": False,
            "description": item.description or "",
        }
        for item in found
        if item.star_count >= stars and official in (None, item.is_official)
    ]


def _stars(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidArgument(f"invalid filter 'stars=[{text}]'") from None
