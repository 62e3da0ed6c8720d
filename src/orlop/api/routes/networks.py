"""`GET /networks` and `GET /networks/{id}`; networks of one's own are still to come."""

from __future__ import annotations

from orlop.api.call import Answer, Call, answer
from orlop.api.router import Route
from orlop.engine.networks import list as listing

__all__ = ["ROUTES"]


async def list_networks(call: Call) -> Answer:
    return answer(await listing.list_networks(call.engine, filters=call.query.filters(listing.FILTERS)))


async def inspect_network(call: Call) -> Answer:
    return answer(await listing.inspect(call.engine, call.parts["id"]))


ROUTES = (
    Route("GET", "/networks", list_networks),
    Route("GET", "/networks/{id}", inspect_network),
)
