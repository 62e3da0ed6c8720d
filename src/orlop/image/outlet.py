"""An outlet: bytes that a thread makes flow to the event loop, and from there to a client that may be slow.

The counterpart of `orlop.image.pipe`. At most `_LIMIT` bytes wait; then the thread does. When the client goes, the
thread's next write raises and it ends.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from orlop.image.apart import apart

__all__ = ["flow"]

_LIMIT = 4 << 20


class _Closed(Exception):
    """Nobody reads any more."""


class _Outlet:
    """Made on the event loop; `write` is called in one thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._changed = threading.Condition()
        self._blocks: deque[bytes] = deque()
        self._size = 0
        self._closed = False

    def write(self, block: bytes) -> None:
        """Pass a block on; wait while too much is waiting."""
        with self._changed:
            while self._size > _LIMIT and not self._closed:
                self._changed.wait()
            if self._closed:
                raise _Closed
            wake = not self._blocks
            self._blocks.append(block)
            self._size += len(block)
        if wake:
            self._loop.call_soon_threadsafe(self._arrived.set)

    def take(self) -> bytes:
        """Return the next block, b"" if none has come yet."""
        with self._changed:
            if not self._blocks:
                self._arrived.clear()
                return b""
            block = self._blocks.popleft()
            self._size -= len(block)
            self._changed.notify()
            return block

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    async def wait(self, working: asyncio.Future[None]) -> None:
        """Wait until a block comes or the work is done."""
        arrival = asyncio.ensure_future(self._arrived.wait())
        try:
            await asyncio.wait((arrival, working), return_when=asyncio.FIRST_COMPLETED)
        finally:
            arrival.cancel()
            with suppress(asyncio.CancelledError):
                await arrival


async def flow(work: Callable[[Callable[[bytes], None]], None], name: str) -> AsyncGenerator[bytes, None]:
    """Run ``work(write)`` in a thread called `name` and yield what it writes; raise what it raises.

    To be closed if it is left before the end; the thread has ended when that is done.
    """
    outlet = _Outlet()
    working = apart(lambda: work(outlet.write), name)
    try:
        while True:
            done = working.done()  # before taking: what was written until then is there
            if block := outlet.take():
                yield block
            elif done:
                working.result()
                return
            else:
                await outlet.wait(working)
    finally:
        outlet.close()
        await asyncio.wait((working,))
        working.exception()  # it was raised above, or nobody wants to know
