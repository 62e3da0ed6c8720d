import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orlop.engine import events as module
from orlop.engine.events import Events, Subscription, event_json, matches
from orlop.formats.filters import Filters
from orlop.model.record import EventRecord
from orlop.store.store import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "orlop.db")
    yield opened
    await opened.close()


async def take(subscription: Subscription, count: int) -> list[str]:
    return [(await anext(subscription)).action for _ in range(count)]


def container_event(action: str = "start", **attributes: str) -> EventRecord:
    return EventRecord(time=1_500_000_000, type="container", action=action, actor="c" * 64, attributes=attributes)


async def test_a_subscriber_hears_what_happens_after_it_subscribed(store: Store) -> None:
    events = Events(store)
    events.publish("container", "create", "c1", {})
    subscription = events.subscribe()
    events.publish("container", "start", "c1", {"name": "web"})
    assert await take(subscription, 1) == ["start"]
    assert events.listeners == 1
    subscription.close()
    assert events.listeners == 0
    await events.close()


async def test_the_past_and_the_present_join_without_gap_or_repetition(store: Store) -> None:
    events = Events(store)
    for number in range(50):
        events.publish("container", str(number), "c", {})
    await asyncio.sleep(0)  # storing is under way
    for number in range(50, 100):
        events.publish("container", str(number), "c", {})
    subscription = events.subscribe(since=0)
    told = asyncio.ensure_future(take(subscription, 300))
    for number in range(100, 300):
        events.publish("container", str(number), "c", {})
        if number % 10 == 0:
            await asyncio.sleep(0)
    assert await told == [str(number) for number in range(300)]
    subscription.close()
    await events.close()


async def test_events_outlive_the_daemon_in_their_order(tmp_path: Path) -> None:
    for actions in (("create", "start"), ("die", "destroy")):
        store = await Store.open(tmp_path / "orlop.db")
        events = Events(store)
        for action in actions:
            events.publish("container", action, "c", {})
        await events.close()
        await store.close()
    store = await Store.open(tmp_path / "orlop.db")
    events = Events(store)
    assert [e.action async for e in events.subscribe(until=time.time_ns())] == ["create", "start", "die", "destroy"]
    await events.close()
    await store.close()


async def test_since_and_until_cut_the_past(store: Store) -> None:
    events = Events(store)
    first, second, third = (events.publish("network", action, "n", {}) for action in "abc")
    told = [e.action async for e in events.subscribe(since=second.time, until=second.time)]
    assert told == ["b"]
    assert first.time < second.time < third.time
    await events.close()


async def test_an_until_that_is_to_come_ends_the_stream_then(store: Store) -> None:
    events = Events(store)
    subscription = events.subscribe(until=time.time_ns() + 50_000_000)
    events.publish("image", "load", "i", {})
    assert [e.action async for e in subscription] == ["load"]
    assert events.listeners == 0
    await events.close()


async def test_a_clock_that_goes_back_does_not_disturb_the_order(store: Store) -> None:
    events = Events(store)
    late = events.publish("container", "a", "c", {}, time_ns=2_000)
    early = events.publish("container", "b", "c", {}, time_ns=1_000)
    assert (late.time, early.time) == (2_000, 2_001)
    await events.close()


async def test_a_client_that_does_not_read_is_dropped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE_LIMIT", 10)
    events = Events(store)
    stuck, reading = events.subscribe(), events.subscribe()
    for number in range(11):
        events.publish("container", str(number), "c", {})
        assert await take(reading, 1) == [str(number)]
    assert events.listeners == 1
    assert [e async for e in stuck] == []
    await events.close()


async def test_closing_ends_every_subscription(store: Store) -> None:
    events = Events(store)
    subscription = events.subscribe()
    waiting = asyncio.ensure_future(anext(subscription, None))
    await asyncio.sleep(0)
    await events.close()
    assert await waiting is None


def test_the_json_form_is_dockerd_s() -> None:
    record = container_event(image="busybox", name="web")
    assert event_json(record) == {
        "status": "start",
        "id": "c" * 64,
        "from": "busybox",
        "Type": "container",
        "Action": "start",
        "Actor": {"ID": "c" * 64, "Attributes": {"image": "busybox", "name": "web"}},
        "scope": "local",
        "time": 1,
        "timeNano": 1_500_000_000,
    }
    volume = EventRecord(time=1, type="volume", action="create", actor="v")
    assert list(event_json(volume)) == ["Type", "Action", "Actor", "scope", "time", "timeNano"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, True),
        ({"container": ("ccc",)}, True),
        ({"container": ("we",)}, True),
        ({"container": ("other",)}, False),
        ({"container": ("other", "web")}, True),
        ({"type": ("image",)}, False),
        ({"type": ("image", "container")}, True),
        ({"event": ("exec_create",)}, True),
        ({"event": ("exec",)}, False),
        ({"event": ("exec_create: ls",)}, True),
        ({"image": ("reg:5000/a/busybox",)}, True),
        ({"image": ("reg:5000/a/busybox:1",)}, True),
        ({"image": ("busybox",)}, False),
        ({"label": ("tier=front",)}, True),
        ({"label": ("tier=back",)}, False),
        ({"label": ("tier",), "type": ("container",)}, True),
        ({"scope": ("swarm",)}, False),
        ({"volume": ("web",)}, True),  # as in dockerd: any object of that name
        ({"network": ("x",)}, False),
        ({"unheard-of": ("x",)}, True),
    ],
)
def test_filters_mean_what_they_mean_to_dockerd(filters: dict[str, tuple[str, ...]], expected: bool) -> None:
    record = container_event("exec_create: ls", name="web", image="reg:5000/a/busybox:1", tier="front")
    assert matches(record, Filters(filters)) is expected
