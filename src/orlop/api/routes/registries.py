"""What is asked of registries without bringing an image here: login, search, and what there is under a name.

`/orlop/manifests/{name}` is Orlop's own, for `orlop manifest inspect`.
"""

from __future__ import annotations

from orlop.api.call import Answer, Call, answer
from orlop.api.router import Route
from orlop.engine.images import auth, distribution, manifest, search

__all__ = ["ROUTES"]


async def authenticate(call: Call) -> Answer:
    return answer(await auth.authenticate(call.engine, await call.raw()))


async def show_distribution(call: Call) -> Answer:
    header = call.header("X-Registry-Auth")
    return answer(await distribution.distribution(call.engine, call.parts["name"], auth=header))


async def show_manifest(call: Call) -> Answer:
    found = await manifest.inspect(
        call.engine,
        call.parts["name"],
        verbose=call.query.flag("verbose"),
        insecure=call.query.flag("insecure"),
        auth=call.header("X-Registry-Auth"),
    )
    return answer(found)


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
    Route("GET", "/orlop/manifests/{name}", show_manifest),
)
