"""Steps that are being carried out: a key in flight is shared by all builds that want it.

A *flight* is one task and one lease. Who wants its key joins it, hears what it has said so far and what it says from
then on, and takes its result over under a lease of their own. A build that is cancelled leaves the flight, which goes
on as long as anyone is on board; the last one to leave ends it and waits for that end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from orlop.build.cache import names_of_step
from orlop.build.worker import Sink
from orlop.image.leases import Lease
from orlop.model.record import BuildStepRecord

__all__ = ["Flights"]

_REMEMBERED = 4 << 20  # bytes of output that one who joins late is told

Work = Callable[[Lease, Sink], Awaitable[BuildStepRecord]]


class _Relay:
    """The sink of a flight: passes on what it is told to all on board, and remembers it for those to come."""

    def __init__(self) -> None:
        self.sinks: list[Sink] = []
        self._said: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self._container = ""
        self._transfers: dict[str, tuple[int, int, bool]] = {}

    def join(self, sink: Sink) -> None:
        self.sinks.append(sink)
        if self._container:
            sink.container(self._container)
        for id, (current, total, done) in self._transfers.items():
            sink.transfer(id, current, total, done=done)
        for stream, data in self._said:
            sink.output(stream, data)

    def output(self, stream: int, data: bytes) -> None:
        self._said.append((stream, data))
        self._size += len(data)
        while self._size > _REMEMBERED and len(self._said) > 1:
            self._size -= len(self._said.popleft()[1])
        for sink in self.sinks:
            sink.output(stream, data)

    def container(self, container_id: str) -> None:
        self._container = container_id
        for sink in self.sinks:
            sink.container(container_id)

    def transfer(self, id: str, current: int, total: int, *, done: bool = False) -> None:
        self._transfers[id] = current, total, done
        for sink in self.sinks:
            sink.transfer(id, current, total, done=done)


@dataclass(slots=True)
class _Flight:
    task: asyncio.Task[BuildStepRecord]
    lease: Lease
    relay: _Relay
    owner: object
    passengers: int = field(default=0)


class Flights:
    """All flights of one engine."""

    def __init__(self, open_lease: Callable[[], Lease]) -> None:
        self._open_lease = open_lease
        self._flights: dict[str, _Flight] = {}  # that may be joined
        self._flying: dict[int, set[asyncio.Task[BuildStepRecord]]] = {}  # by the owner's identity

    async def take(
        self, key: str, work: Work, sink: Sink, lease: Lease, *, owner: object, fresh: bool = False
    ) -> BuildStepRecord:
        """Return the record of a step, whose layer `lease` then holds: of the flight that is under way, or of a new
        one, for which `work` is begun in a task that belongs to `owner`. With `fresh` no flight is joined but those of
        this owner.

        `work` returns a record that is in the cache; it is given the lease that holds what it makes and uses. What it
        raises everyone on board is told.
        """
        flight = self._flights.get(key)
        if flight is None or flight.task.done() or (fresh and flight.owner is not owner):
            flight = self._begin(key, work, owner)
        flight.passengers += 1
        flight.relay.join(sink)
        try:
            record = await asyncio.shield(flight.task)
            for name in names_of_step(record):
                lease.hold(name)
            return record
        finally:
            flight.relay.sinks.remove(sink)
            flight.passengers -= 1
            if not flight.passengers:
                await self._land(key, flight, lease)

    async def drained(self, owner: object) -> None:
        """Return when nothing of `owner` is under way any more, which other builds may have been waiting for."""
        while tasks := self._flying.get(id(owner)):
            await asyncio.wait(tasks)

    def _begin(self, key: str, work: Work, owner: object) -> _Flight:
        lease, relay = self._open_lease(), _Relay()

        async def fly() -> BuildStepRecord:
            return await work(lease, relay)

        task = asyncio.get_running_loop().create_task(fly(), name=f"build step {key}")
        flight = self._flights[key] = _Flight(task, lease, relay, owner)
        self._flying.setdefault(id(owner), set()).add(task)
        task.add_done_callback(lambda _: self._landed(task, owner))
        return flight

    def _landed(self, task: asyncio.Task[BuildStepRecord], owner: object) -> None:
        tasks = self._flying[id(owner)]
        tasks.discard(task)
        if not tasks:
            del self._flying[id(owner)]

    async def _land(self, key: str, flight: _Flight, lease: Lease) -> None:
        """End a flight that has nobody on board; what it holds goes to `lease`, with which it is collected."""
        if self._flights.get(key) is flight:
            del self._flights[key]
        flight.task.cancel()
        cancelled: asyncio.CancelledError | None = None
        while not flight.task.done():  # however often the last passenger is cancelled
            try:
                await asyncio.wait([flight.task])
            except asyncio.CancelledError as error:
                cancelled = error
        if not flight.task.cancelled():
            flight.task.exception()  # everyone on board has been told
        lease.absorb(flight.lease)
        if cancelled is not None:
            raise cancelled
