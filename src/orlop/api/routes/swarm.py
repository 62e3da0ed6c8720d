"""`/swarm`, `/nodes`, `/services`, `/tasks`, `/secrets`, `/configs`: this engine is in no swarm."""

from __future__ import annotations

from orlop.api.call import Answer, Call
from orlop.api.router import Route
from orlop.errors import Unavailable

__all__ = ["ROUTES"]


async def no_manager(call: Call) -> Answer:
    raise Unavailable(
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" '
        "to connect this node to swarm and try again."
    )


async def no_swarm(call: Call) -> Answer:
    raise Unavailable("This node is not part of a swarm")


_MANAGED = """
    GET /swarm
    POST /swarm/update
    GET /swarm/unlockkey
    GET /nodes
    GET /nodes/{id}
    DELETE /nodes/{id}
    POST /nodes/{id}/update
    GET /services
    POST /services/create
    GET /services/{id}
    DELETE /services/{id}
    POST /services/{id}/update
    GET /services/{id}/logs
    GET /tasks
    GET /tasks/{id}
    GET /tasks/{id}/logs
    GET /secrets
    POST /secrets/create
    GET /secrets/{id}
    DELETE /secrets/{id}
    POST /secrets/{id}/update
    GET /configs
    POST /configs/create
    GET /configs/{id}
    DELETE /configs/{id}
    POST /configs/{id}/update
"""

ROUTES = (
    Route("POST", "/swarm/leave", no_swarm),
    Route("POST", "/swarm/unlock", no_swarm),
    Route("POST", "/swarm/init", no_manager),
    Route("POST", "/swarm/join", no_manager),
    *(Route(method, pattern, no_manager) for method, pattern in map(str.split, _MANAGED.strip().splitlines())),
)
