"""Slots: a semaphore whose limit may change while it is used, since the daemon reads its configuration again."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Slots"]


class Slots:
    """So many may be inside at once (0: any number), in the order in which they came. Used on one event loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        return self._limit

    @property
    def busy(self) -> bool:
        """Whether who came now would have to wait."""
        return bool(self._waiting) or (self._inside >= self._limit > 0)

    def resize(self, limit: int) -> None:
        """Change the limit; who is inside stays."""
        self._limit = limit
        self._admit()

    async def __aenter__(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._admit()
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # admitted in the same moment
                self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self._inside -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and (self._inside < self._limit or not self._limit):
            waiter = self._waiting.popleft()
            if not waiter.done():
                self._inside += 1
                waiter.set_result(None)
