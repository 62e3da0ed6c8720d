"""Who writes to which upload: the last request that came for it.

A client that lost its connection comes back before the server has noticed; its old request must not go on writing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

__all__ = ["Writers"]


class Writers:
    """The requests that write to uploads, each the only one for its upload."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[object]] = {}

    @contextlib.asynccontextmanager
    async def only(self, upload: str) -> AsyncIterator[None]:
        """Be the only one that writes to an upload; who did before is cancelled, its connection with it."""
        task = asyncio.current_task()
        assert task is not None
        while (other := self._tasks.get(upload)) is not None:
            other.cancel()
            await asyncio.wait([other])
        self._tasks[upload] = task
        try:
            yield
        finally:
            if self._tasks.get(upload) is task:
                del self._tasks[upload]
