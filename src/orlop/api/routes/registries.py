"""`/auth`, `/distribution/…` and `/images/search`: what is asked of registries without bringing an image here."""

from __future__ import annotations

from orlop.api.call import Answer, Call, answer
from orlop.api.router import Route
from orlop.engine.images import auth, distribution, search

__all__ = ["ROUTES"]


async def authenticate(call: Call) -> Answer:
    return answer(await auth.authenticate(call.engine, await call.raw()))


async def show_distribution(call: Call) -> Answer:
    header = call.header("X-Registry-Auth")
    return answer(await distribution.distribution(call.engine, call.parts["name"], auth=header))


async def search_images(call: Call) -> Answer:
    found = await search.search(
        call.engine,
        call.query.text("term"),
        limit=call.query.integer("limit") or 0,
        filters=call.query.filters(search.FILTERS),
        auth=call.header("X-Registry-Auth"),
    )
    return answer(found)


ROUTES = (
    Route("POST", "/auth", authenticate),
    Route("GET", "/distribution/{name}/json", show_distribution),
    Route("GET", "/images/search", search_images),
)
