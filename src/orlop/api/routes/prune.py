"""What `docker system prune` asks for beside containers and volumes: images, networks, the build cache."""

from __future__ import annotations

from orlop.api.call import Answer, Call, answer
from orlop.api.router import Route
from orlop.engine.builds import prune as builds
from orlop.engine.images import prune as images
from orlop.engine.system import prune
from orlop.errors import InvalidArgument

__all__ = ["ROUTES"]


async def prune_images(call: Call) -> Answer:
    return answer(await images.prune(call.engine, call.query.filters(images.FILTERS)))


async def prune_networks(call: Call) -> Answer:
    return answer(await prune.prune_networks(call.engine, call.query.filters(prune.NETWORK_FILTERS)))


async def prune_build_cache(call: Call) -> Answer:
    filters = call.query.filters(builds.FILTERS)
    result = await builds.prune(
        call.engine,
        filters,
        all=call.query.flag("all"),
        reserved=_bytes(call, "reserved-space") or _bytes(call, "keep-storage"),  # the second before 1.48
        max_used=_bytes(call, "max-used-space"),
        min_free=_bytes(call, "min-free-space"),
    )
    return answer(result)


def _bytes(call: Call, name: str) -> int:
    try:
        return call.query.integer(name) or 0
    except InvalidArgument as error:
        text = call.query.text(name)
        raise InvalidArgument(f"{name} is in bytes and expects an integer, got {text}: {error.message}") from None


ROUTES = (
    Route("POST", "/images/prune", prune_images),
    Route("POST", "/networks/prune", prune_networks),
    Route("POST", "/build/prune", prune_build_cache),
)
