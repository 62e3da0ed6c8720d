"""Events: what happened, told to everyone who listens, and kept for those who ask later.

`Events.publish` costs an append: the record goes to the queue of every subscription and to the list of what is to be
stored; a task stores that list in batches. The invariant is the order: subscribers and the store see events exactly as
they were published. A subscription with a past reads the store and takes over what is not stored yet in one step
(under the lock that storing needs, too), so that no event is missed or told twice. A subscriber that does not read is
dropped when its queue is full: it never grows the daemon and never holds up the others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from orlop.errors import Error
from orlop.formats.filters import Filters
from orlop.model.record import EventRecord
from orlop.store import events as table
from orlop.store.store import Store

__all__ = ["Events", "Subscription", "event_json", "matches"]

log = logging.getLogger(__name__)

QUEUE_LIMIT = 8192
"""Events that a subscriber may be behind."""
_UNSAVED_LIMIT = 20_000
_RETRY_SECONDS = 1.0
_END_OF_TIME = 2**63 - 1


class Events:
    """The events of one engine. All methods are called on its event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unsaved: deque[EventRecord] = deque(maxlen=_UNSAVED_LIMIT)
        self._saving = asyncio.Lock()
        self._saver: asyncio.Task[None] | None = None
        self._subscriptions: set[Subscription] = set()
        self._last_time = 0
        self._closed = False

    @classmethod
    async def open(cls, store: Store) -> Events:
        """Return the events that are kept in `store`."""
        return cls(store)

    @property
    def listeners(self) -> int:
        """How many subscriptions are open."""
        return len(self._subscriptions)

    def publish(
        self, type: str, action: str, actor_id: str, attributes: Mapping[str, str], time_ns: int | None = None
    ) -> EventRecord:
        """Tell that `action` happened to the object `actor_id` of `type` ("container", "image", "volume"…).

        Events of one daemon never share a time and never go back in it, whatever the clock does.
        """
        self._last_time = max(time.time_ns() if time_ns is None else time_ns, self._last_time + 1)
        record = EventRecord(
            time=self._last_time, type=type, action=action, actor=actor_id, attributes=dict(attributes)
        )
        for subscription in tuple(self._subscriptions):
            subscription._offer(record)
        self._unsaved.append(record)
        if self._saver is None and not self._closed:
            self._saver = asyncio.get_running_loop().create_task(self._save_all(), name="events")
        return record

    def subscribe(
        self, since: int | None = None, until: int | None = None, filters: Filters | None = None
    ) -> Subscription:
        """Return the events that match, from now on or from `since` (ns), for ever or to `until` (ns).

        With one of them the past is told first, as in Docker; an `until` that is over ends the iteration there.
        Listening begins with this call, not with the first event that is fetched.
        """
        return Subscription(self, since, until, filters or Filters())

    async def close(self) -> None:
        """Store what is left and end all subscriptions."""
        self._closed = True
        for subscription in tuple(self._subscriptions):
            subscription._finish()
        if self._saver is not None:
            self._saver.cancel()
            await asyncio.gather(self._saver, return_exceptions=True)
        try:
            await self._save()
        except Error as error:
            log.error("%d events could not be stored: %s", len(self._unsaved), error)

    async def _save_all(self) -> None:
        """Store what is there and what comes meanwhile, then go."""
        try:
            while self._unsaved:
                try:
                    await self._save()
                except Error as error:
                    log.error("events cannot be stored now: %s", error)
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            self._saver = None

    async def _save(self) -> None:
        async with self._saving:
            batch = tuple(self._unsaved)
            if not batch:
                return
            # Shielded: a write cannot be called back, so what it wrote must not be written again.
            write = asyncio.ensure_future(self._store.write(lambda tx: table.append(tx, batch), durable=False))
            try:
                await asyncio.shield(write)
            except asyncio.CancelledError:
                await asyncio.wait([write])
                if write.exception() is None:
                    self._forget(batch)
                raise
            self._forget(batch)

    def _forget(self, batch: tuple[EventRecord, ...]) -> None:
        stored = batch[-1].time
        while self._unsaved and self._unsaved[0].time <= stored:
            self._unsaved.popleft()

    async def _past(self, since: int, until: int, and_then: Callable[[], None]) -> list[EventRecord]:
        """Return what happened up to now; `and_then` is called at the moment at which "now" ends."""
        async with self._saving:
            stored = await self._store.read(lambda tx: table.between(tx, since, until))
            unsaved = [record for record in self._unsaved if since <= record.time <= until]
            and_then()
            return stored + unsaved


class Subscription(AsyncIterator[EventRecord]):
    """An iterator over events; leave it by `close` (or as a context manager) so that nothing is kept for it."""

    def __init__(self, events: Events, since: int | None, until: int | None, filters: Filters) -> None:
        self._events = events
        self._since = since
        self._until = until
        self._filters = filters
        self._queue: deque[EventRecord] = deque()
        self._wake = asyncio.Event()
        self._ended = False
        self._past_told = since is None and until is None
        if self._past_told:
            self._listen()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> EventRecord:
        if not self._past_told:
            await self._tell_past()
        while not self._queue:
            if self._ended or not await self._wait():
                self.close()
                raise StopAsyncIteration
        return self._queue.popleft()

    def close(self) -> None:
        """Stop listening and forget what was not fetched."""
        self._finish()
        self._queue.clear()

    async def aclose(self) -> None:
        """Do as `close`, as an asynchronous generator would."""
        self.close()

    def _listen(self) -> None:
        if self._events._closed:
            self._ended = True
        else:
            self._events._subscriptions.add(self)

    def _finish(self) -> None:
        self._ended = True
        self._events._subscriptions.discard(self)
        self._wake.set()

    def _offer(self, record: EventRecord) -> None:
        if self._until is not None and record.time > self._until:
            self._finish()
        elif matches(record, self._filters):
            if len(self._queue) >= QUEUE_LIMIT:
                log.warning("a client that does not read its events is dropped, %d events behind", len(self._queue))
                self.close()
                return
            self._queue.append(record)
            self._wake.set()

    async def _tell_past(self) -> None:
        until = _END_OF_TIME if self._until is None else self._until
        over = self._until is not None and self._until <= time.time_ns()
        past = await self._events._past(self._since or 0, until, _nothing if over else self._listen)
        self._past_told = True
        if over:
            self._ended = True
        # What is published from here on waits behind: nothing has run since the past was taken.
        self._queue.extendleft(record for record in reversed(past) if matches(record, self._filters))

    async def _wait(self) -> bool:
        """Wait for an event or the end; False when the time is over."""
        self._wake.clear()
        if self._until is None:
            await self._wake.wait()
            return True
        try:
            async with asyncio.timeout((self._until - time.time_ns()) / 1e9):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True


def matches(record: EventRecord, filters: Filters) -> bool:
    """Tell whether `record` is asked for. Keys that Docker does not know are without effect, as there."""
    if not filters:
        return True
    return (
        _matches_action(record.action, filters)
        and filters.exact("type", record.type)
        and filters.exact("scope", "local")
        and all(_matches_object(record, kind, filters) for kind in _OBJECTS)
        and _matches_image(record, filters)
        and filters.match_labels(record.attributes)
    )


_OBJECTS = ("daemon", "container", "plugin", "volume", "network", "node", "service", "secret", "config")
_ACTIONS_WITH_DETAIL = frozenset(("health_status", "exec_create", "exec_start"))


def _matches_action(action: str, filters: Filters) -> bool:
    """Actions such as ``exec_create: ls`` are found by their first word, and then all others by a prefix, too."""
    if _ACTIONS_WITH_DETAIL.intersection(filters.get("event")):
        return filters.prefix("event", action)
    return filters.exact("event", action)


def _matches_object(record: EventRecord, kind: str, filters: Filters) -> bool:
    return filters.prefix(kind, record.actor) or filters.prefix(kind, record.attributes.get("name", ""))


def _matches_image(record: EventRecord, filters: Filters) -> bool:
    if not filters.has("image"):
        return True
    name = record.attributes.get("name" if record.type == "image" else "image", "")
    return filters.any_exact("image", (record.actor, name, _without_tag(record.actor), _without_tag(name)))


def _without_tag(reference: str) -> str:
    directory, slash, last = reference.partition("@")[0].rpartition("/")
    return directory + slash + last.partition(":")[0]


def event_json(record: EventRecord) -> dict[str, Any]:
    """Return the event as the API gives it, in Docker's order of fields."""
    document: dict[str, Any] = {}
    if record.type in ("container", "image"):
        document["status"] = record.action
        document["id"] = record.actor
        if record.type == "container" and record.attributes.get("image"):
            document["from"] = record.attributes["image"]
    return document | {
        "Type": record.type,
        "Action": record.action,
        "Actor": {"ID": record.actor, "Attributes": record.attributes},
        "scope": "local",
        "time": record.time // 1_000_000_000,
        "timeNano": record.time,
    }


def _nothing() -> None:
    """End the past without listening to what comes."""
