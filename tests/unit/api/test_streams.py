"""Answers that go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from orlop.engine.containers import logs, stats, wait
from orlop.engine.containers.logs import LogStream
from orlop.engine.images import imports, load
from orlop.errors import Error, InvalidArgument
from orlop.model.record import EventRecord
from orlop.runtime.logs import LogQuery
from support.wire import Fake, Wire, message


class Source:
    """A source of pieces that a test feeds; `None` ends it, an exception is raised from it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.closed = asyncio.Event()
        self.taken = 0

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        item = await self.queue.get()
        self.taken += 1
        if item is None:
            raise StopAsyncIteration
        if isinstance(item, Exception):
            raise item
        return item

    async def aclose(self) -> None:
        self.closed.set()

    def feed(self, *items: Any) -> None:
        for item in items:
            self.queue.put_nowait(item)


async def test_the_head_of_a_log_is_sent_before_its_first_line(wire: Wire, fake: Fake) -> None:
    source = Source()
    calls = fake(logs, "logs", LogStream(False, source))
    await wire.send(message("GET", "/v1.51/containers/x/logs?stdout=1&follow=1&tail=5&since=1.5&details=1&until=0"))
    head = await wire.head()
    assert (head.status, head.headers["content-type"]) == (200, "application/vnd.docker.multiplexed-stream")
    query = calls.last["query"]
    assert isinstance(query, LogQuery)
    assert (query.stdout, query.stderr, query.follow, query.tail) == (True, False, True, 5)
    assert (query.since_ns, query.until_ns) == (1_500_000_000, None)
    source.feed(b"one", b"two")
    assert [await wire.chunk(), await wire.chunk()] == [b"one", b"two"]
    source.feed(None)
    assert await wire.chunk() == b""
    assert (await wire.request("GET", "/_ping")).status == 200
    assert source.closed.is_set()


async def test_old_clients_get_logs_as_a_raw_stream(wire: Wire, fake: Fake) -> None:
    for version, tty in (("1.41", False), ("1.51", True)):
        source = Source()
        source.feed(None)
        fake(logs, "logs", LogStream(tty, source))
        reply = await wire.request("GET", f"/v{version}/containers/x/logs?stdout=1&tail=all")
        assert reply.headers["content-type"] == "application/vnd.docker.raw-stream"


async def test_logs_of_no_stream_are_refused(wire: Wire) -> None:
    reply = await wire.request("GET", "/containers/x/logs")
    assert (reply.status, reply.message) == (400, "Bad parameters: you must choose at least one stream")


async def test_an_error_in_a_log_is_a_frame_of_its_own(wire: Wire, fake: Fake) -> None:
    source = Source()
    source.feed(b"one", Error("the disk is gone"))
    fake(logs, "logs", LogStream(False, source))
    reply = await wire.request("GET", "/containers/x/logs?stdout=1")
    text = b"Error grabbing logs: the disk is gone\n"
    assert reply.body == b"one" + b"\x03\0\0\0" + len(text).to_bytes(4, "big") + text


async def test_a_client_that_goes_closes_the_source(served: Path, fake: Fake) -> None:
    source = Source()
    fake(logs, "logs", LogStream(False, source))
    wire = await Wire.open(served)
    await wire.send(message("GET", "/containers/x/logs?stdout=1&follow=1"))
    await wire.head()
    await wire.close()
    await asyncio.wait_for(source.closed.wait(), 10)


async def test_a_client_that_does_not_read_holds_up_only_its_source(served: Path, wire: Wire, fake: Fake) -> None:
    source = Source()
    source.feed(*(b"x" * 65536 for _ in range(1000)))
    fake(logs, "logs", LogStream(False, source))
    stuck = await Wire.open(served)
    stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await stuck.send(message("GET", "/containers/x/logs?stdout=1&follow=1"))
    for _ in range(20):
        assert (await wire.request("GET", "/_ping")).status == 200
        await asyncio.sleep(0.005)
    assert source.taken < 100
    await stuck.close()
    await asyncio.wait_for(source.closed.wait(), 10)


async def test_a_failure_in_mid_stream_breaks_the_stream_off(wire: Wire, fake: Fake) -> None:
    source = Source()
    source.feed({"id": 1}, ZeroDivisionError())
    fake(stats, "stats", source)

    async def readings(*_: Any, **__: Any) -> Source:
        return source

    fake(stats, "stats", readings)
    await wire.send(message("GET", "/containers/x/stats"))
    await wire.head()
    assert json.loads(await wire.chunk()) == {"id": 1}
    assert await wire.rest() == b""


async def test_a_waiter_stands_before_the_head_is_sent(wire: Wire, fake: Fake) -> None:
    result: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    calls = fake(wait, "wait", wait.Waiter(result))
    await wire.send(message("POST", "/containers/x/wait?condition=next-exit"))
    assert (await wire.head()).status == 200
    assert calls.last["condition"] == "next-exit"
    result.set_result({"StatusCode": 3})
    assert json.loads(await wire.chunk()) == {"StatusCode": 3}
    assert await wire.chunk() == b""


async def test_events_come_as_json_lines_and_old_clients_see_no_image_creation(
    wire: Wire, engine: SimpleNamespace
) -> None:
    source = Source()
    asked: list[Any] = []

    def subscribe(*arguments: Any) -> Source:
        asked.append(arguments)
        return source

    engine.events = SimpleNamespace(subscribe=subscribe)
    await wire.send(message("GET", '/v1.45/events?since=1&until=3&filters={"type":["image","container"]}'))
    assert (await wire.head()).headers["content-type"] == "application/json"
    assert asked[0][:2] == (1_000_000_000, 3_000_000_000)
    source.feed(
        EventRecord(time=2_000_000_001, type="image", action="create", actor="sha256:1"),
        EventRecord(time=2_000_000_002, type="container", action="start", actor="c1", attributes={"image": "busybox"}),
        None,
    )
    line = await wire.chunk()
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "status": "start",
        "id": "c1",
        "from": "busybox",
        "Type": "container",
        "Action": "start",
        "Actor": {"ID": "c1", "Attributes": {"image": "busybox"}},
        "scope": "local",
        "time": 2,
        "timeNano": 2_000_000_002,
    }
    assert await wire.chunk() == b""


async def test_a_span_that_ends_before_it_begins_is_refused(wire: Wire) -> None:
    reply = await wire.request("GET", "/events?since=5&until=4")
    assert (reply.status, reply.message) == (400, "`since` time (5) cannot be after `until` time (4)")


def loading(items: list[Any], monkeypatch: Any, module: Any, name: str) -> list[bytes]:
    """Let a function that gives progress read its upload and give `items`."""
    received: list[bytes] = []

    async def stand_in(engine: Any, stream: AsyncIterator[bytes], **_: Any) -> AsyncIterator[Any]:
        async for block in stream:
            received.append(block)
        for item in items:
            if isinstance(item, Exception):
                raise item
            yield item

    monkeypatch.setattr(module, name, stand_in)
    return received


async def test_load_reads_the_body_and_tells_progress(wire: Wire, monkeypatch: Any) -> None:
    received = loading([{"stream": "Loaded image: x\n"}], monkeypatch, load, "load")
    reply = await wire.request("POST", "/images/load", b"x" * 500_000, {"Content-Type": "application/x-tar"})
    assert (reply.status, reply.body) == (200, b'{"stream":"Loaded image: x\\n"}\r\n')
    assert b"".join(received) == b"x" * 500_000


async def test_an_error_of_a_load_ends_its_stream(wire: Wire, monkeypatch: Any) -> None:
    loading([{"status": "a"}, InvalidArgument("no tar")], monkeypatch, load, "load")
    reply = await wire.request("POST", "/images/load", b"x", {"Content-Type": "application/x-tar"})
    assert reply.status == 200
    assert json.loads(reply.body.splitlines()[1]) == {"errorDetail": {"message": "no tar"}, "error": "no tar"}


async def test_an_import_that_fails_at_once_has_a_status(wire: Wire, monkeypatch: Any) -> None:
    loading([InvalidArgument("no tar")], monkeypatch, imports, "import_image")
    reply = await wire.request("POST", "/images/create?fromSrc=-&repo=x", b"x", {"Content-Type": "application/x-tar"})
    assert (reply.status, reply.message) == (400, "no tar")
    loading([{"status": "sha256:1"}], monkeypatch, imports, "import_image")
    reply = await wire.request("POST", "/images/create?fromSrc=-&repo=x", b"x", {"Content-Type": "application/x-tar"})
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "sha256:1"})


async def test_closing_ends_streams_at_once(engine: SimpleNamespace, tmp_path: Path, fake: Fake) -> None:
    import socket

    from orlop.api.http import Api

    source = Source()
    fake(logs, "logs", LogStream(False, source))
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    api = Api(engine)  # type: ignore[arg-type]
    await api.listen(sock)
    wire, idle = await Wire.open(tmp_path / "s"), await Wire.open(tmp_path / "s")
    await idle.request("GET", "/_ping")
    await wire.send(message("GET", "/containers/x/logs?stdout=1&follow=1"))
    await wire.head()
    await asyncio.wait_for(api.close(patience=60), 30)
    assert source.closed.is_set()
    assert await wire.rest() == b""
    assert await idle.rest() == b""
    await wire.close()
    await idle.close()
