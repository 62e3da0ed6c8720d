"""Routes of the API reference that Orlop does not have yet: an answer that names the route."""

from __future__ import annotations

from orlop.api.call import Answer, Call
from orlop.api.router import Route
from orlop.errors import NotImplementedYet

__all__ = ["ROUTES"]

_MISSING = """
    GET /containers/{id}/attach/ws
    HEAD /containers/{id}/archive
    GET /containers/{id}/archive
    PUT /containers/{id}/archive
    DELETE /networks/{id}
    POST /networks/create
    POST /networks/{id}/connect
    POST /networks/{id}/disconnect
    GET /plugins/privileges
    POST /plugins/pull
    DELETE /plugins/{name}
    POST /plugins/{name}/enable
    POST /plugins/{name}/disable
    POST /plugins/{name}/upgrade
    POST /plugins/create
    POST /plugins/{name}/push
    POST /plugins/{name}/set
"""


def _missing(method: str, pattern: str) -> Route:
    async def handler(call: Call) -> Answer:
        raise NotImplementedYet(f"{method} {pattern} is not implemented by this version of Orlop")

    return Route(method, pattern, handler)


ROUTES = tuple(_missing(*line.split()) for line in _MISSING.strip().splitlines())
