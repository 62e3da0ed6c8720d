"""Removing links after the answer.

Deleting a link holds the kernel's network lock for long, and most links need no deletion: when a container's last
process ends, its namespace goes and takes the pair with it. So a removal waits a moment, deletes only what is left,
one link at a time, and lets connects go first.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from orlop.formats.rtnetlink import delete_link
from orlop.linux.netlink import Netlink, NetlinkError
from orlop.network.apply import GONE

__all__ = ["Removals"]

log = logging.getLogger(__name__)

DELAY = 1.0  # seconds until a namespace has usually gone
YIELD = 0.002  # seconds between two looks at whether connects are under way
MAX_YIELDS = 50  # for one link


class Removals:
    """The links to be removed; a task on the event loop, and a thread with a socket of its own."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy  # are connects under way
        self._queue: deque[tuple[float, str]] = deque()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "orlop-links")
        self._netlink: Netlink | None = None

    def add(self, link: str) -> None:
        """Have a link removed some time soon."""
        self._queue.append((asyncio.get_running_loop().time() + DELAY, link))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="remove links")

    async def close(self) -> None:
        """Remove what is left, now."""
        self._closing = True
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._run()
        self._thread.shutdown()
        if self._netlink:
            self._netlink.close()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            due, link = self._queue[0]
            if not self._closing:
                await asyncio.sleep(max(0.0, due - loop.time()))
                for _ in range(MAX_YIELDS):
                    if not self._busy():
                        break
                    await asyncio.sleep(YIELD)
            await loop.run_in_executor(self._thread, self._delete, link)
            self._queue.popleft()

    def _delete(self, link: str) -> None:
        if self._netlink is None:
            self._netlink = Netlink()
        number = self._netlink.attempt([delete_link(name=link)])[0]
        if number and number not in GONE:  # the next daemon finds it as a stray
            log.warning("link stays: %s", NetlinkError(number, f"delete link {link}"))
