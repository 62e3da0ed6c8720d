"""A pipe from the event loop to a thread: an upload that comes asynchronously is read as a blocking stream.

At most `_LIMIT` bytes wait in it; then the upload is not read any further, and the sender is slowed down by TCP.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator

from orlop.errors import InvalidArgument

__all__ = ["Pipe"]

_LIMIT = 4 << 20
_PIECE = 256 << 10  # small pieces are joined to about this size: each costs a switch of threads


class Pipe:
    """Made on the event loop. `fill` runs there, `read` is called in one thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._drained = asyncio.Event()
        self._changed = threading.Condition()
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._error: Exception | None = None

    async def fill(self, stream: AsyncIterator[bytes]) -> None:
        """Pass the whole `stream` on. What it raises is raised by `read`, too."""
        pending: list[bytes] = []
        size = 0
        try:
            async for piece in stream:
                pending.append(piece)
                size += len(piece)
                if size >= _PIECE:
                    await self._put(b"".join(pending))
                    pending.clear()
                    size = 0
            await self._put(b"".join(pending))
        except Exception as error:
            self.end(InvalidArgument(f"the upload broke off: {error}"))
            raise
        except BaseException:
            self.end(InvalidArgument("the upload was broken off"))
            raise
        self.end()

    def end(self, error: Exception | None = None) -> None:
        """Say that nothing follows, or why."""
        with self._changed:
            if not self._ended:
                self._ended = True
                self._error = error
            self._changed.notify()

    def read(self) -> bytes:
        """Return the next bytes; wait for them; b"" at the end. Raises what `end` was given."""
        with self._changed:
            while not self._pieces and not self._ended:
                self._changed.wait()
            if self._error is not None:
                raise self._error
            if not self._pieces:
                return b""
            piece = self._pieces.popleft()
            was_full = self._size > _LIMIT
            self._size -= len(piece)
            wake = was_full and self._size <= _LIMIT
        if wake:
            self._loop.call_soon_threadsafe(self._drained.set)
        return piece

    async def _put(self, piece: bytes) -> None:
        if not piece:
            return
        with self._changed:
            self._pieces.append(piece)
            self._size += len(piece)
            self._changed.notify()
            full = self._size > _LIMIT
            if full:
                self._drained.clear()
        if full:
            await self._drained.wait()
