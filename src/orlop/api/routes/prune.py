"""What `docker system prune` asks for beside containers and volumes: images, networks, the build cache."""

from __future__ import annotations

from orlop.api.call import Answer, Call, answer
from orlop.api.router import Route
from orlop.engine.builds import prune as builds
from orlop.engine.images import prune as images
from orlop.engine.system import prune

__all__ = ["ROUTES"]


async def prune_images(call: Call) -> Answer:
    return answer(await images.prune(call.engine, call.query.filters(images.FILTERS)))


async def prune_networks(call: Call) -> Answer:
    return answer(await prune.prune_networks(call.engine, call.query.filters(prune.NETWORK_FILTERS)))


async def prune_build_cache(call: Call) -> Answer:
    query = call.query
    filters = query.filters(builds.FILTERS)
    reserved = query.integer("reserved-space" if call.version >= (1, 48) else "keep-storage")
    reserved = reserved or query.integer("keep-storage")
    result = await builds.prune(
        call.engine,
        filters,
        all=query.flag("all"),
        reserved=reserved or 0,
        max_used=query.integer("max-used-space") or 0,
        min_free=query.integer("min-free-space") or 0,
    )
    return answer(result)


ROUTES = (
    Route("POST", "/images/prune", prune_images),
    Route("POST", "/networks/prune", prune_networks),
    Route("POST", "/build/prune", prune_build_cache),
)
