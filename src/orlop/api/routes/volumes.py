"""`/volumes/…`."""

from __future__ import annotations

from dataclasses import replace

from orlop.api.call import Answer, Call, answer, empty
from orlop.api.router import Route
from orlop.engine.volumes import create, inspect, prune, remove
from orlop.engine.volumes import list as listing
from orlop.errors import Unavailable
from orlop.model.api.volume import VolumeCreate

__all__ = ["ROUTES"]


async def list_volumes(call: Call) -> Answer:
    return answer(await listing.list_volumes(call.engine, call.query.filters(listing.FILTERS)))


async def create_volume(call: Call) -> Answer:
    return answer(await create.create(call.engine, await call.decode(VolumeCreate)), 201)


async def inspect_volume(call: Call) -> Answer:
    return answer(await inspect.inspect(call.engine, call.parts["name"]))


async def update_volume(call: Call) -> Answer:
    raise Unavailable("volume update only valid for cluster volumes, but swarm is unavailable")


async def remove_volume(call: Call) -> Answer:
    await remove.remove(call.engine, call.parts["name"], call.query.flag("force"))
    return empty()


async def prune_volumes(call: Call) -> Answer:
    filters = call.query.filters(prune.FILTERS)
    if call.version < (1, 42):  # then named volumes were pruned, too
        filters = replace(filters, fields={**filters.fields, "all": ("true",)})
    return answer(await prune.prune(call.engine, filters))


ROUTES = (
    Route("GET", "/volumes", list_volumes),
    Route("POST", "/volumes/create", create_volume),
    Route("POST", "/volumes/prune", prune_volumes),
    Route("GET", "/volumes/{name}", inspect_volume),
    Route("PUT", "/volumes/{name}", update_volume),
    Route("DELETE", "/volumes/{name}", remove_volume),
)
