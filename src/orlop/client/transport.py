"""The bytes of HTTP over a socket: one request at a time, bodies as streams, the socket itself when it is hijacked.

Nothing here knows the Engine API.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from orlop.client.endpoint import Endpoint
from orlop.client.http1 import LAST_CHUNK, AnswerParser, Head, chunk, request_head
from orlop.errors import Unavailable

__all__ = ["CannotConnect", "Channel", "Connection", "Dialer", "EncryptedStream", "Response", "connect"]

_RECEIVE = 1 << 18


class EncryptedStream(Protocol):
    """A connection that is used like a socket and whose bytes are not the socket's."""

    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...
    def shutdown(self, how: int, /) -> None: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...
    def send_some(self, data: bytes, /) -> int: ...
    def pending(self) -> bool: ...
    def unsent(self) -> bool: ...


Channel = socket.socket | EncryptedStream
Dialer = Callable[[Endpoint], Channel]


class CannotConnect(Unavailable):
    """Nobody answers at the daemon's address, or the client may not go there."""


def connect(endpoint: Endpoint) -> Channel:
    """Return a connected stream to a unix or tcp endpoint; raise `CannotConnect` with docker's message."""
    try:
        if endpoint.scheme == "unix":
            return _connect_unix(endpoint.address)
        if endpoint.scheme == "tcp":
            return _connect_tcp(endpoint)
    except PermissionError:
        raise CannotConnect(
            f"permission denied while trying to connect to the Orlop daemon socket at {endpoint.host}"
        ) from None
    except (ConnectionRefusedError, FileNotFoundError, NotADirectoryError, TimeoutError):
        raise CannotConnect(f"Cannot connect to the Orlop daemon at {endpoint.host}. Is orlopd running?") from None
    except OSError as error:
        raise CannotConnect(f"error during connect: {endpoint.host}: {error}") from error
    raise CannotConnect(f"unable to connect to {endpoint.host}: unsupported protocol {endpoint.scheme}")


def _connect_unix(path: str) -> socket.socket:
    # The kernel takes 107 bytes; a longer path is reached through a descriptor of its directory.
    directory = -1
    address = "\0" + path[1:] if path.startswith("@") else path
    if len(os.fsencode(path)) > 107:
        directory = os.open(os.path.dirname(path), os.O_PATH | os.O_CLOEXEC)
        address = f"/proc/self/fd/{directory}/{os.path.basename(path)}"
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    finally:
        if directory >= 0:
            os.close(directory)
    return sock


def _connect_tcp(endpoint: Endpoint) -> Channel:
    host, _, port = endpoint.address.rpartition(":")
    host = host.strip("[]")
    plain = socket.create_connection((host, int(port)))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if endpoint.tls is None:
        return plain
    from orlop.client.tls import TLSSocket, client_context

    try:
        return TLSSocket(plain, client_context(endpoint.tls), host)
    except BaseException:
        plain.close()
        raise


class Response:
    """The answer to a request: status and headers are there, the body is read as it comes."""

    def __init__(self, connection: Connection, parser: AnswerParser, head: Head) -> None:
        self.connection = connection
        self.status = head.status
        self.reason = head.reason
        self.headers = head.headers
        self._parser = parser

    def header(self, name: str) -> str:
        """Return a header by its lower-case name, empty when it is absent."""
        return self.headers.get(name, "")

    @property
    def finished(self) -> bool:
        """Whether the whole body was read."""
        return self._parser.finished

    @property
    def reusable(self) -> bool:
        """Whether the connection can carry another request."""
        return self._parser.finished and self._parser.keep_alive and not self._parser.rest

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives."""
        while True:
            if data := self._parser.body():
                yield data
            elif self._parser.finished:
                return
            else:
                self._parser.feed(self.connection.receive())

    def read(self) -> bytes:
        """Return the rest of the body."""
        return b"".join(self.chunks())

    def available(self, *, receive: bool) -> bytes:
        """Return what has arrived, after at most one read from the socket: for a caller that watches `fileno`."""
        if receive and not self._parser.finished:
            self._parser.feed(self.connection.receive())
        return self._parser.body()

    def detach(self) -> tuple[Channel, bytes]:
        """Take the socket away after a head that switched to a raw stream; return it and what arrived behind."""
        return self.connection.stream, self._parser.rest

    def fileno(self) -> int:
        return self.connection.stream.fileno()

    def close(self) -> None:
        """Give the connection up, whether or not the body was read."""
        self.connection.close()


class Connection:
    """One connection to a daemon, used for one request after the other."""

    def __init__(self, stream: Channel) -> None:
        self.stream = stream

    def request(
        self, method: str, target: str, headers: list[tuple[str, str]], body: bytes | Iterable[bytes] = b""
    ) -> Response:
        """Send a request and return its answer's head; raise `orlop.errors.Error` when the daemon goes away meanwhile.

        A body of bytes is sent with its length, one of pieces in chunks.
        """
        self.send(method, target, headers, body)
        return self.answer(method)

    def send(
        self, method: str, target: str, headers: list[tuple[str, str]], body: bytes | Iterable[bytes] = b""
    ) -> None:
        """Send a request; its answer has to be taken with `answer` before the next one."""
        try:
            self._send(method, target, headers, body)
        except (BrokenPipeError, ConnectionResetError):
            # The daemon refused before it had read everything: its answer, if there is one, says why.
            pass

    def answer(self, method: str) -> Response:
        """Wait for the head of the answer to the request that was sent."""
        parser = AnswerParser(method)
        while parser.head is None:
            parser.feed(self.receive())
        return Response(self, parser, parser.head)

    def _send(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes | Iterable[bytes]) -> None:
        if isinstance(body, bytes):
            if body or method in ("POST", "PUT"):
                headers = [*headers, ("Content-Length", str(len(body)))]
            self.stream.sendall(request_head(method, target, headers) + body)
            return
        self.stream.sendall(request_head(method, target, [*headers, ("Transfer-Encoding", "chunked")]))
        for piece in body:
            if piece:
                for part in chunk(piece):
                    self.stream.sendall(part)
        self.stream.sendall(LAST_CHUNK)

    def receive(self) -> bytes:
        """Read from the socket once; empty when the daemon has closed."""
        try:
            return self.stream.recv(_RECEIVE)
        except ConnectionResetError:
            return b""

    def stale(self) -> bool:
        """Say whether the daemon has closed (or broken) a connection that waits for its next request."""
        return bool(select.select([self.stream], [], [], 0)[0])

    def close(self) -> None:
        self.stream.close()
