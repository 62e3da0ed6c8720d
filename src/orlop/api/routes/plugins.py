"""`/plugins`: there are none, which `docker inspect NAME` wants to hear as "not found"."""

from __future__ import annotations

from orlop.api.call import Answer, Call, answer
from orlop.api.router import Route
from orlop.errors import NotFound

__all__ = ["ROUTES"]


async def list_plugins(call: Call) -> Answer:
    return answer([])


async def inspect_plugin(call: Call) -> Answer:
    raise NotFound(f'plugin "{call.parts["name"]}" not found')


ROUTES = (
    Route("GET", "/plugins", list_plugins),
    Route("GET", "/plugins/{name}/json", inspect_plugin),
)
