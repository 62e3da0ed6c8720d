"""`/build…` as classic clients use it, and the doors of BuildKit, which are closed.

What builds need is loaded by the first of them.
"""

from __future__ import annotations

from orlop.api.call import Answer, Call, empty
from orlop.api.router import Route
from orlop.api.streams import send_progress
from orlop.errors import NotImplementedYet

__all__ = ["ROUTES"]


async def build_image(call: Call) -> Answer:
    from orlop.engine.builds import classic_build

    call.watch()
    body = call.upload() if call.has_body else None
    built = classic_build.build(call.engine, call.query, body, registries=call.header("X-Registry-Config"))
    return await send_progress(call, built, early_errors=True)


async def cancel_build(call: Call) -> Answer:
    """End a build by the id that its client gave it; one that is not there is no error, as at dockerd."""
    call.engine.builds.cancel(call.query.text("id"))
    return empty(200)


async def refuse_buildkit(call: Call) -> Answer:
    from orlop.engine.builds.requests import BUILDKIT_MISSING

    raise NotImplementedYet(BUILDKIT_MISSING)


ROUTES = (
    Route("POST", "/build", build_image),
    Route("POST", "/build/cancel", cancel_build),
    Route("POST", "/grpc", refuse_buildkit),
    Route("POST", "/session", refuse_buildkit),
)
