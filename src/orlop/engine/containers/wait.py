"""`POST /containers/{id}/wait`: a waiter stands registered when the answer's head goes out, so nothing is missed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orlop.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["Waiter", "wait"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Waiter:
    """Somebody who waits for a container."""

    answer: Awaitable[Json]

    async def result(self) -> Json:
        """Return ``{"StatusCode": n}`` when the condition holds."""
        return await self.answer


async def wait(engine: Engine, ref: str, *, condition: str = "") -> Waiter:
    """Register for a condition: ``not-running`` (the default), ``next-exit`` or ``removed``."""
    if condition not in ("", "not-running", "next-exit", "removed"):
        raise InvalidArgument(f'invalid condition: "{condition}"')
    try:
        container = engine.containers.resolve(ref)
    except NotFound:
        # A client that lost its connection and asks again by the full id must not miss an end that came meanwhile.
        answer = engine.containers.departed(ref)
        if answer is None or condition == "next-exit":
            raise
        gone: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        gone.set_result(answer)
        return Waiter(gone)
    if condition == "removed":
        return Waiter(container.on_removal())
    future = container.on_exit()
    if condition != "next-exit" and container.task is None and container.state.status != "restarting":
        future.set_result(container.wait_answer())
    return Waiter(future)
