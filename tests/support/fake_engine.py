"""An Engine API that answers what a test tells it to, on a unix socket: for clients, without a daemon."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

VERSION = "1.51"


@dataclass
class Request:
    """What a client asked, with the version prefix taken off its path."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """What is sent back: `body` is JSON unless it is bytes.

    `raw` gets the connection after it became a stream; `later` gives the body after the head was sent, which `breaks`
    off there; `pieces` gives it bit by bit.
    """

    body: Any = None
    status: int = 200
    content_type: str = "application/json"
    raw: Callable[[Any], None] | None = None
    later: Callable[[], bytes] | None = None
    pieces: Callable[[], Iterator[bytes]] | None = None
    breaks: bool = False
    tty: bool = False


Route = Answer | Callable[[Request], Answer]


@dataclass
class FakeEngine:
    """The routes by method and path (a regular expression), and the requests that came."""

    socket: str
    routes: dict[tuple[str, str], Route] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    maximum: str = VERSION

    def on(self, method: str, path: str, answer: Any) -> None:
        """Answer requests to `path`; JSON stands for an `Answer` with it."""
        self.routes[method, path] = answer if isinstance(answer, Answer) or callable(answer) else Answer(answer)

    def refuse(self, method: str, path: str, status: int, message: str) -> None:
        self.on(method, path, Answer({"message": message}, status))

    def asked(self, method: str, path: str) -> list[Request]:
        """Return the requests of a method to a path."""
        return [request for request in self.requests if request.method == method and re.fullmatch(path, request.path)]

    def find(self, request: Request) -> Answer:
        for (method, path), route in reversed(self.routes.items()):
            if method == request.method and re.fullmatch(path, request.path):
                return route if isinstance(route, Answer) else route(request)
        return Answer({"message": "page not found"}, 404)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: FakeEngine

    def address_string(self) -> str:
        return "client"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_any(self) -> None:
        parts = urlsplit(self.path)
        version = re.match(r"/v(\d+\.\d+)(/.*)", parts.path)
        request = Request(
            self.command,
            version[2] if version else parts.path,
            parse_qs(parts.query),
            {name.lower(): value for name, value in self.headers.items()},
            self._body(),
        )
        self.engine.requests.append(request)
        if request.path == "/_ping":
            self._reply(Answer(b"" if self.command == "HEAD" else b"OK", content_type="text/plain"))
            return
        if version and [int(n) for n in version[1].split(".")] > [int(n) for n in self.engine.maximum.split(".")]:
            text = f"client version {version[1]} is too new. Maximum supported API version is {self.engine.maximum}"
            self._reply(Answer({"message": text}, 400))
            return
        answer = self.engine.find(request)
        if answer.pieces is not None:
            self._reply_in_pieces(answer)
            return
        if answer.later is not None:
            self._reply_later(answer.later, answer.breaks)
            return
        if answer.raw is None:
            self._reply(answer)
            return
        kind = "raw" if answer.tty else "multiplexed"
        self.wfile.write(
            b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker."
            + kind.encode()
            + b"-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )
        self.close_connection = True
        answer.raw(self.connection)

    do_GET = do_POST = do_HEAD = do_DELETE = do_PUT = do_any

    def _reply_later(self, body: Callable[[], bytes], breaks: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        data = body()
        if breaks:
            self.close_connection = True
            return
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))

    def _reply_in_pieces(self, answer: Answer) -> None:
        assert answer.pieces is not None
        self.send_response(200)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in answer.pieces():
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if answer.breaks:
            self.close_connection = True
            return
        self.wfile.write(b"0\r\n\r\n")

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _reply(self, answer: Answer) -> None:
        body = answer.body if isinstance(answer.body, bytes) else b""
        if not isinstance(answer.body, bytes) and answer.body is not None:
            body = json.dumps(answer.body).encode() + b"\n"
        self.send_response(answer.status)
        self.send_header("Api-Version", self.engine.maximum)
        self.send_header("Ostype", "linux")
        self.send_header("Swarm", "inactive")
        self.send_header("Docker-Experimental", "false")
        self.send_header("Content-Type", answer.content_type)
        if answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients of tests leave when they like


@contextmanager
def fake_engine(directory: Path) -> Iterator[FakeEngine]:
    """Serve a `FakeEngine` on ``docker.sock`` in a directory (whose name must be short)."""
    engine = FakeEngine(str(directory / "docker.sock"))
    handler = type("Handler", (_Handler,), {"engine": engine})
    with _Server(engine.socket, handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield engine
        finally:
            server.shutdown()
            thread.join()
