"""The routes of the API, one module a group: parse the request, make one call to the engine, shape the answer."""

from __future__ import annotations

from orlop.api.routes import (
    build,
    containers,
    execs,
    images,
    missing,
    networks,
    own,
    own_build,
    plugins,
    prune,
    registries,
    swarm,
    system,
    volumes,
)

__all__ = ["ROUTES"]

ROUTES = (
    *system.ROUTES,
    *containers.ROUTES,
    *execs.ROUTES,
    *images.ROUTES,
    *volumes.ROUTES,
    *networks.ROUTES,
    *prune.ROUTES,
    *build.ROUTES,
    *plugins.ROUTES,
    *registries.ROUTES,
    *swarm.ROUTES,
    *own.ROUTES,
    *own_build.ROUTES,
    *missing.ROUTES,
)
