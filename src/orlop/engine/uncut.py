"""Work in a thread that is not left alone: who is cancelled while it runs goes on only when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from orlop.errors import Error
from orlop.image.apart import apart

__all__ = ["uncut"]

T = TypeVar("T")


async def uncut(work: Callable[[], T], drop: Callable[[T], object] | None = None) -> T:
    """Run `work` in a thread of its own and return its result.

    When the caller is cancelled, this waits for the end of the work all the same: what it uses may then be given up.
    Its result is given to `drop`.
    """
    working = apart(work, "uncut")
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        with suppress(Error, OSError):
            result = await working
            if drop is not None:
                drop(result)
        raise
