"""The blocking and the async client against an engine that is made up."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop import errors
from orlop.client import calls
from orlop.client.aio import AsyncEngine
from orlop.client.endpoint import Endpoint, TLSFiles
from orlop.client.engine import API_VERSION, Engine, json_batches
from orlop.client.tls import TLSSocket, client_context
from orlop.client.transport import CannotConnect, connect
from support.certificates import Authority
from support.fake_container import frame, read_all
from support.fake_engine import Answer, FakeEngine, fake_engine


@pytest.fixture
def fake() -> Iterator[FakeEngine]:
    with tempfile.TemporaryDirectory(prefix="of-") as directory, fake_engine(Path(directory)) as served:
        yield served


@pytest.fixture
def engine(fake: FakeEngine) -> Engine:
    return Engine(Endpoint(f"unix://{fake.socket}"))


def test_one_connection_serves_one_call_after_the_other(fake: FakeEngine) -> None:
    dialled: list[str] = []

    def dial(endpoint: Endpoint) -> socket.socket:
        dialled.append(endpoint.address)
        return connect(endpoint)  # type: ignore[return-value]

    fake.on("GET", "/info", {"ID": "x"})
    engine = Engine(Endpoint(f"unix://{fake.socket}"), dial=dial)
    assert [engine.do(calls.info())["ID"] for _ in range(3)] == ["x"] * 3
    assert len(dialled) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidArgument),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (500, errors.Internal),
        (501, errors.NotImplementedYet),
        (503, errors.Unavailable),
        (418, errors.Internal),
    ],
)
def test_errors_have_the_type_of_their_status_and_the_daemons_words(
    fake: FakeEngine, engine: Engine, status: int, kind: type[errors.Error]
) -> None:
    fake.refuse("GET", "/info", status, "in its words")
    with pytest.raises(kind, match="in its words") as caught:
        engine.do(calls.info())
    assert type(caught.value) is kind
    fake.on("GET", "/info", Answer(b"plain text", 502, "text/plain"))
    with pytest.raises(errors.Internal, match="plain text"):
        engine.do(calls.info())


def test_an_older_daemon_is_asked_again_in_its_version(fake: FakeEngine, engine: Engine) -> None:
    fake.maximum = "1.44"
    fake.on("GET", "/info", {"ID": "x"})
    assert engine.version == API_VERSION
    assert engine.do(calls.info()) == {"ID": "x"}
    assert engine.version == "1.44"
    with pytest.raises(errors.InvalidArgument, match="too new"):
        Engine(engine.endpoint, pinned="1.50").do(calls.info())


def test_a_streamed_body_asks_for_the_version_before(fake: FakeEngine, engine: Engine) -> None:
    fake.maximum = "1.44"
    fake.on("POST", "/images/load", Answer(b'{"stream":"a"}\r\n{"stream":"b"}'))
    assert list(engine.json_lines(calls.image_load(iter([b"one", b"", b"two"])))) == [{"stream": "a"}, {"stream": "b"}]
    assert [(request.method, request.body) for request in fake.requests] == [("HEAD", b""), ("POST", b"onetwo")]


def test_calls_side_by_side_keep_their_order_and_their_errors(fake: FakeEngine, engine: Engine) -> None:
    fake.on("POST", "/containers/ok[0-9]+/pause", Answer(status=204))
    fake.refuse("POST", "/containers/bad/pause", 404, "No such container: bad")
    names = [*(f"ok{number}" for number in range(60)), "bad"]
    outcomes = list(engine.each([calls.container_pause(name) for name in names]))
    assert outcomes[:60] == [None] * 60
    assert isinstance(outcomes[60], errors.NotFound)
    assert list(engine.each([calls.container_pause("ok1")])) == [None]


def test_a_hijacked_connection_goes_both_ways(fake: FakeEngine, engine: Engine) -> None:
    received: list[bytes] = []

    def process(connection: socket.socket) -> None:
        connection.sendall(frame(1, b"early"))
        received.append(read_all(connection))
        connection.sendall(frame(2, b"late"))

    fake.on("POST", "/containers/a/attach", Answer(raw=process))
    stream = engine.hijack(calls.container_attach("a", stdin=True, stdout=True))
    assert stream.multiplexed
    assert stream.send(b"input") == 5
    stream.close_write()
    output = b""
    while data := stream.recv(4096):
        output += data
    assert output == frame(1, b"early") + frame(2, b"late")
    assert received == [b"input"]


def test_nobody_there_is_said_with_the_address(tmp_path: Path) -> None:
    with pytest.raises(
        CannotConnect, match=r"Cannot connect to the Orlop daemon at unix:///no/where\. Is orlopd running\?"
    ):
        Engine(Endpoint("unix:///no/where")).do(calls.info())
    if os.geteuid() != 0:
        return
    with pytest.raises(CannotConnect, match="unsupported protocol ssh"):
        connect(Endpoint("ssh://a"))


def test_a_socket_deep_in_the_tree_is_reached(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    here = os.open(deep, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{here}/sock")
        listener.listen()
        connect(Endpoint(f"unix://{deep}/sock")).close()
    os.close(here)


def test_names_and_filters_are_encoded() -> None:
    assert calls.image_inspect_raw("host:5000/a b@sha256:x").target == "/images/host:5000/a%20b@sha256:x/json"
    assert calls.container_rename("a?b", "ä&c").target == "/containers/a%3Fb/rename?name=%C3%A4%26c"
    assert calls.container_list(filters={"b": ["2", "1"], "a": ["x"]}).query == (
        "filters=%7B%22a%22%3A%7B%22x%22%3Atrue%7D%2C%22b%22%3A%7B%221%22%3Atrue%2C%222%22%3Atrue%7D%7D"
    )
    assert calls.container_stop("a", timeout=0).target == "/containers/a/stop?t=0"


async def test_the_async_client_makes_the_same_calls(fake: FakeEngine) -> None:
    fake.maximum = "1.44"
    fake.on("GET", "/info", {"ID": "x"})
    fake.on("GET", "/events", Answer(b'{"Type":"a"}\n{"Type":"b"}'))
    fake.on("POST", "/images/load", Answer(b"{}"))
    fake.refuse("GET", "/version", 404, "gone")
    engine = AsyncEngine(Endpoint(f"unix://{fake.socket}"))
    assert await engine.do(calls.info()) == {"ID": "x"}
    assert engine.version == "1.44"
    assert [event["Type"] async for event in engine.json_lines(calls.events())] == ["a", "b"]
    assert await engine.do(calls.image_load([b"x", b"y"])) == b"{}"
    assert fake.requests[-1].body == b"xy"
    with pytest.raises(errors.NotFound, match="gone"):
        await engine.do(calls.version())
    with pytest.raises(CannotConnect):
        await AsyncEngine(Endpoint("unix:///no/where")).do(calls.info())


def test_tls_sends_half_a_close_and_reads_on(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(authority.server)
    server_context.load_verify_locations(authority.ca)
    server_context.verify_mode = ssl.CERT_REQUIRED
    ours, theirs = socket.socketpair()
    payload = os.urandom(3_000_000)
    received: list[bytes] = []

    def serve() -> None:
        with server_context.wrap_socket(theirs, server_side=True, suppress_ragged_eofs=False) as peer:
            parts = []
            while data := peer.recv(1 << 16):
                parts.append(data)
            received.append(b"".join(parts))
            peer.sendall(b"answer" * 50_000)

    server = threading.Thread(target=serve)
    server.start()
    files = TLSFiles(ca=str(authority.ca), certificate=str(authority.client), key="", verify=True)
    stream = TLSSocket(ours, client_context(files), "localhost")
    left = payload
    while left:
        left = left[stream.send_some(left) :]
    stream.shutdown(socket.SHUT_WR)
    answer = b""
    while data := stream.recv(1 << 16):
        answer += data
    server.join()
    stream.close()
    assert received == [payload]
    assert answer == b"answer" * 50_000


def test_an_answer_is_read_while_the_body_is_still_being_sent() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)

    def serve() -> None:
        with theirs:
            theirs.recv(1 << 16)
            theirs.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{}\r\n\r\n")
            data = b""
            while not data.endswith(b"0\r\n\r\n"):
                data = data[-8:] + theirs.recv(1 << 16)
            theirs.sendall(b"3\r\n[]\n\r\n0\r\n\r\n")

    told: list[object] = []

    def pieces() -> Iterator[bytes]:
        while not told:  # nothing would come of waiting with the answer until this has ended
            yield b"x" * 1000

    thread = threading.Thread(target=serve)
    thread.start()
    engine = Engine(Endpoint("unix:///nowhere"), pinned=API_VERSION, dial=lambda _: ours)
    for batch in json_batches(engine.open(calls.image_load(pieces())), tick=5):
        told += batch
    thread.join()
    assert told == [{}, []]
