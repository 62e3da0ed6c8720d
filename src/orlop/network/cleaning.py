"""What is done after the answer: removing links, forgetting tracked connections.

Deleting a link holds the kernel's network lock for long, and most links need no deletion: when a container's last
process ends, its namespace goes and takes the pair with it. So a removal waits a moment, deletes only what is left,
one link at a time, and lets connects go first.

Flows are forgotten when somebody would miss it: at once where datagrams were published, else when an address is about
to be used again, and then for all that were released until then.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from orlop.formats.rtnetlink import delete_link
from orlop.linux.netlink import Netlink, NetlinkError
from orlop.model.record import EndpointRecord
from orlop.network import flows
from orlop.network.apply import GONE

__all__ = ["Cleaner"]

log = logging.getLogger(__name__)

DELAY = 1.0  # seconds until a namespace has usually gone
YIELD = 0.002  # seconds between two looks at whether connects are under way
MAX_YIELDS = 50  # for one link


class Cleaner:
    """Queues on the event loop and a thread with a socket of its own. `busy` says whether connects are under way."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy
        self._thread = ThreadPoolExecutor(1, "orlop-cleaning")
        self._netlink: Netlink | None = None
        self._links: deque[tuple[float, str]] = deque()  # when it is due, its name
        self._worn: set[str] = set()  # released addresses whose flows are still tracked
        self._removal: asyncio.Task[None] | None = None
        self._closing = False

    def connected(self, record: EndpointRecord, then: Callable[[], None]) -> None:
        """Forget the flows that an endpoint's ports would miss, and those of its address's previous owner.

        `then` is called when the ports see all that is theirs.
        """
        if not self._worn.isdisjoint((record.address, record.address6)):
            self._forget()
        if flows.has_datagrams(record):
            work = asyncio.get_running_loop().run_in_executor(self._thread, flows.forget_ports, record)
            work.add_done_callback(lambda _: then())
        else:
            then()

    def released(self, record: EndpointRecord) -> None:
        """Remove an endpoint's link, and forget its flows in time."""
        self._worn.update(filter(None, (record.address, record.address6)))
        if flows.has_datagrams(record):
            self._forget()
        self._links.append((asyncio.get_running_loop().time() + DELAY, record.host_ifname))
        if self._removal is None or self._removal.done():
            self._removal = asyncio.create_task(self._remove(), name="remove links")

    async def close(self) -> None:
        """Do what is left, now."""
        self._closing = True
        if self._removal:
            self._removal.cancel()
            await asyncio.gather(self._removal, return_exceptions=True)
        await self._remove()
        self._forget()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._end)
        self._thread.shutdown()

    async def _remove(self) -> None:
        loop = asyncio.get_running_loop()
        while self._links:
            due, link = self._links[0]
            if not self._closing:
                await asyncio.sleep(max(0.0, due - loop.time()))
                for _ in range(MAX_YIELDS):
                    if not self._busy():
                        break
                    await asyncio.sleep(YIELD)
            await loop.run_in_executor(self._thread, self._delete, link)
            self._links.popleft()

    def _forget(self) -> None:
        if self._worn:
            addresses, self._worn = self._worn, set()
            self._thread.submit(flows.forget_addresses, addresses)

    def _delete(self, link: str) -> None:
        if self._netlink is None:
            self._netlink = Netlink()
        number = self._netlink.attempt([delete_link(name=link)])[0]
        if number and number not in GONE:  # the next daemon finds it as a stray
            log.warning("link stays: %s", NetlinkError(number, f"delete link {link}"))

    def _end(self) -> None:
        if self._netlink:
            self._netlink.close()
