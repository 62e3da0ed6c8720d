"""Connections that become streams lose nothing, whatever the client sends when."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orlop.api.http import Api
from orlop.engine.containers import attach, exec
from orlop.engine.hijack import AttachOptions, Hijackable
from orlop.errors import NotFound
from orlop.model.api.exec import ExecStart
from support.certificates import Authority
from support.wire import Fake, Wire, message

UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}
ATTACH = "/v1.51/containers/x/attach?stream=1&stdin=1&stdout=1"


def echo_everything(fd: int, tail: bytes) -> None:
    """Stand in for a shim: read to the client's end of file, then send all of it back and a trailer."""
    with socket.socket(fileno=fd) as sock:
        sock.setblocking(True)
        received = bytearray(tail)
        while data := sock.recv(1 << 16):
            received += data
        sock.sendall(bytes(received) + b"TRAILER")


@pytest.fixture
def shim(fake: Fake) -> list[asyncio.Future[None]]:
    """Attach hands every connection to a thread that echoes."""
    at_work: list[asyncio.Future[None]] = []

    async def take(ref: str, *, options: AttachOptions, connection: Hijackable) -> None:
        fd, tail = await connection.upgrade(tty=False)
        at_work.append(asyncio.get_running_loop().run_in_executor(None, echo_everything, fd, tail))

    fake(attach, "attach", take)
    return at_work


@pytest.mark.parametrize("size", [0, 10, 100_000, 3_000_000])
async def test_bytes_behind_the_head_and_after_the_answer_arrive(
    wire: Wire, shim: list[asyncio.Future[None]], size: int
) -> None:
    first, second = os.urandom(size), os.urandom(5000)
    assert (await wire.request("GET", "/_ping")).status == 200
    wire.writer.write(message("POST", ATTACH, headers=UPGRADE) + first)
    reply = await wire.head()
    assert reply.status == 101
    assert reply.headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    assert (reply.headers["connection"], reply.headers["upgrade"]) == ("Upgrade", "tcp")
    await wire.send(second)
    wire.end_writing()
    assert await wire.rest() == first + second + b"TRAILER"
    await asyncio.gather(*shim)


async def test_a_half_close_before_the_answer_is_kept_for_the_shim(
    wire: Wire, shim: list[asyncio.Future[None]]
) -> None:
    wire.writer.write(message("POST", ATTACH, headers=UPGRADE) + b"all I say")
    wire.end_writing()
    assert (await wire.head()).status == 101
    assert await wire.rest() == b"all I sayTRAILER"
    await asyncio.gather(*shim)


async def test_without_an_upgrade_header_the_answer_is_200_and_raw(
    wire: Wire, shim: list[asyncio.Future[None]]
) -> None:
    await wire.send(message("POST", ATTACH) + b"hello")
    reply = await wire.head()
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/vnd.docker.raw-stream"
    assert not {"content-length", "transfer-encoding"} & set(reply.headers)
    wire.end_writing()
    assert await wire.rest() == b"helloTRAILER"
    await asyncio.gather(*shim)


@pytest.mark.parametrize(
    ("version", "tty", "kind"), [("1.41", False, "raw"), ("1.42", True, "raw"), ("1.42", False, "multiplexed")]
)
async def test_the_content_type_depends_on_version_and_terminal(
    wire: Wire, fake: Fake, version: str, tty: bool, kind: str
) -> None:
    async def take(ref: str, *, options: AttachOptions, connection: Hijackable) -> None:
        fd, _ = await connection.upgrade(tty=tty)
        os.close(fd)

    fake(attach, "attach", take)
    await wire.send(message("POST", f"/v{version}/containers/x/attach?stream=1", headers=UPGRADE))
    assert (await wire.head()).headers["content-type"] == f"application/vnd.docker.{kind}-stream"
    assert await wire.rest() == b""


async def test_a_head_that_comes_byte_by_byte_is_understood(wire: Wire, shim: list[asyncio.Future[None]]) -> None:
    for byte in message("POST", ATTACH, headers=UPGRADE) + b"xyz":
        await wire.send(bytes([byte]))
        await asyncio.sleep(0)
    assert (await wire.head()).status == 101
    wire.end_writing()
    assert await wire.rest() == b"xyzTRAILER"
    await asyncio.gather(*shim)


BODIES: dict[str, Callable[[bytes], tuple[dict[str, str], bytes]]] = {
    "length": lambda body: ({"Content-Length": str(len(body))}, body),
    "chunks": lambda body: (
        {"Transfer-Encoding": "chunked"},
        b"%x\r\n%s\r\n%x;ext=1\r\n%s\r\n0\r\nTrailer: x\r\n\r\n" % (5, body[:5], len(body) - 5, body[5:]),
    ),
}


@pytest.mark.parametrize("form", BODIES)
async def test_exec_start_reads_its_body_before_the_stream(wire: Wire, fake: Fake, form: str) -> None:
    async def start(exec_id: str, *, body: ExecStart, connection: Hijackable | None) -> None:
        assert connection is not None
        assert body.tty
        fd, tail = await connection.upgrade(tty=body.tty)
        await asyncio.get_running_loop().run_in_executor(None, echo_everything, fd, tail)

    fake(exec, "start", start)
    headers, body = BODIES[form](b'{"Detach": false, "Tty": true}')
    head = message("POST", "/exec/e/start", headers={"Content-Type": "application/json", **headers, **UPGRADE})
    await wire.send(head + body[:12])
    await asyncio.sleep(0.01)
    await wire.send(body[12:] + b"stdin")
    assert (await wire.head()).status == 101
    wire.end_writing()
    assert await wire.rest() == b"stdinTRAILER"


async def test_a_body_that_waits_for_continue_gets_it(wire: Wire, shim: list[asyncio.Future[None]]) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": "2", "Expect": "100-continue", **UPGRADE}
    await wire.send(message("POST", ATTACH, headers=headers))
    assert (await wire.head()).status == 100
    await wire.send(b"{}tail")
    assert (await wire.head()).status == 101
    wire.end_writing()
    assert await wire.rest() == b"tailTRAILER"
    await asyncio.gather(*shim)


async def test_an_error_instead_of_a_stream_is_an_ordinary_answer(wire: Wire, fake: Fake) -> None:
    fake(attach, "attach", NotFound("No such container: x"))
    await wire.send(message("POST", ATTACH, headers=UPGRADE) + message("GET", "/_ping"))
    reply = await wire.reply()
    assert (reply.status, reply.message) == (404, "No such container: x")
    assert (await wire.reply()).body == b"OK"
    assert (await wire.request("GET", "/_ping")).body == b"OK"


async def test_an_error_after_a_half_close_still_arrives(wire: Wire, fake: Fake) -> None:
    fake(attach, "attach", NotFound("No such container: x"))
    await wire.send(message("POST", ATTACH, headers=UPGRADE))
    wire.end_writing()
    assert (await wire.reply()).status == 404
    assert await wire.rest() == b""


async def test_a_detached_exec_keeps_the_connection_alive(wire: Wire, fake: Fake) -> None:
    calls = fake(exec, "start")
    for _ in range(3):
        reply = await wire.request("POST", "/exec/e/start", {"Detach": True}, UPGRADE)
        assert (reply.status, reply.body) == (200, b"")
        assert calls.last["connection"] is None
    assert (await wire.request("GET", "/_ping")).status == 200


async def test_a_stream_that_follows_an_unanswered_request_waits_for_it(
    wire: Wire, fake: Fake, shim: list[asyncio.Future[None]]
) -> None:
    async def slow(exec_id: str) -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return {"ID": exec_id}

    fake(exec, "inspect", slow)
    await wire.send(message("GET", "/exec/e/json"))
    await asyncio.sleep(0.01)
    await wire.send(message("POST", ATTACH, headers=UPGRADE) + b"tail")
    assert (await wire.reply()).json() == {"ID": "e"}
    assert (await wire.head()).status == 101
    wire.end_writing()
    assert await wire.rest() == b"tailTRAILER"
    await asyncio.gather(*shim)


async def test_the_daemon_keeps_no_copy_of_a_connection_that_it_gave_away(wire: Wire, fake: Fake) -> None:
    still_waiting = asyncio.Event()
    taken: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def take(ref: str, *, options: AttachOptions, connection: Hijackable) -> None:
        fd, _ = await connection.upgrade(tty=False)
        taken.set_result(fd)
        await still_waiting.wait()  # the handler lives on and is not cancelled

    fake(attach, "attach", take)
    await wire.send(message("POST", ATTACH, headers=UPGRADE))
    assert (await wire.head()).status == 101
    os.close(await taken)
    assert await wire.rest() == b""
    still_waiting.set()


async def test_a_client_ahead_of_its_answer_has_to_wait(wire: Wire, fake: Fake) -> None:
    go = asyncio.Event()

    async def take(ref: str, *, options: AttachOptions, connection: Hijackable) -> None:
        await go.wait()
        fd, tail = await connection.upgrade(tty=False)
        assert len(tail) < 4 << 20
        await asyncio.get_running_loop().run_in_executor(None, echo_everything, fd, tail)

    fake(attach, "attach", take)
    sent = os.urandom(16 << 20)
    wire.writer.write(message("POST", ATTACH, headers=UPGRADE) + sent)
    await asyncio.sleep(0.2)
    go.set()
    assert (await wire.head()).status == 101
    wire.end_writing()
    assert await wire.rest() == sent + b"TRAILER"


@pytest.fixture(params=["unix", "tcp"])
async def connect(
    request: pytest.FixtureRequest, served: Path, engine: SimpleNamespace
) -> AsyncIterator[Callable[[], Awaitable[Wire]]]:
    """Open a connection to the API, of either kind."""
    if request.param == "unix":
        yield lambda: Wire.open(served)
        return
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    api = Api(engine)  # type: ignore[arg-type]
    await api.listen(sock)

    async def open_tcp() -> Wire:
        return Wire(*await asyncio.open_connection("127.0.0.1", port))

    yield open_tcp
    await api.close(patience=0.5)


async def test_many_clients_at_once_get_their_own_bytes(
    connect: Callable[[], Awaitable[Wire]], shim: list[asyncio.Future[None]]
) -> None:
    async def client(number: int) -> None:
        wire = await connect()
        for _ in range(number % 3):
            assert (await wire.request("GET", "/_ping")).status == 200
        sent = os.urandom(number * 997)
        wire.writer.write(message("POST", ATTACH, headers=UPGRADE if number % 2 else {}) + sent)
        assert (await wire.head()).status in (101, 200)
        wire.end_writing()
        assert await wire.rest() == sent + b"TRAILER"
        await wire.close()

    await asyncio.gather(*(client(number) for number in range(40)))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


class TLSWire:
    """A TLS client that can end its own half (close_notify) and read on, as Go's clients do."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        self._plain = plain
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")
        self._until(self._tls.do_handshake)

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view[: 1 << 16]) :]
            self._plain.sendall(self._out.read())

    def end_writing(self) -> None:
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            self._plain.sendall(self._out.read())

    def recv(self) -> bytes:
        """Return what comes next, nothing at a clean end."""
        try:
            return bytes(self._until(lambda: self._tls.read(1 << 16)))
        except ssl.SSLZeroReturnError:
            return b""

    def _until(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._plain.sendall(self._out.read())
                received = self._plain.recv(1 << 16)
                assert received, "the connection ended without a close_notify"
                self._in.write(received)
            else:
                self._plain.sendall(self._out.read())
                return result


TLSClient = Callable[[Callable[[TLSWire], bytes]], Awaitable[bytes]]


@pytest.fixture
async def tls(engine: SimpleNamespace, authority: Authority) -> AsyncIterator[TLSClient]:
    """Run a blocking client on a TLS connection to the API."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server)
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    api = Api(engine)  # type: ignore[arg-type]
    await api.listen(sock, context)

    def client(work: Callable[[TLSWire], bytes]) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
            return work(TLSWire(plain, ssl.create_default_context(cafile=str(authority.ca))))

    yield lambda work: asyncio.get_running_loop().run_in_executor(None, client, work)
    await api.close(patience=0.5)


@pytest.mark.parametrize("early", [False, True], ids=["after the answer", "before the answer"])
async def test_over_tls_a_half_close_loses_nothing(
    tls: TLSClient, shim: list[asyncio.Future[None]], early: bool
) -> None:
    sent = os.urandom(3_000_000)

    def work(wire: TLSWire) -> bytes:
        wire.send(message("GET", "/_ping"))
        assert wire.recv().endswith(b"OK")
        wire.send(message("POST", ATTACH, headers=UPGRADE) + (sent if early else sent[:1000]))
        if early:
            wire.end_writing()
        received = b""
        while b"\r\n\r\n" not in received:
            received += wire.recv()
        head, _, rest = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 UPGRADED")
        if not early:
            wire.send(sent[1000:])
            wire.end_writing()
        while data := wire.recv():
            rest += data
        return rest

    assert await tls(work) == sent + b"TRAILER"
    await asyncio.gather(*shim)


async def test_over_tls_an_error_instead_of_a_stream_is_an_ordinary_answer(tls: TLSClient, fake: Fake) -> None:
    fake(attach, "attach", NotFound("No such container: x"))

    def work(wire: TLSWire) -> bytes:
        wire.send(message("POST", ATTACH, headers=UPGRADE))
        first = wire.recv()
        wire.send(message("GET", "/_ping"))
        return first + wire.recv()

    answer = await tls(work)
    assert answer.startswith(b"HTTP/1.1 404")
    assert answer.endswith(b"OK")
