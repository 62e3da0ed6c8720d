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
        sent = not self.connection.sending
        return sent and self._parser.finished and self._parser.keep_alive and not self._parser.rest

    def chunks(self, *, tick: float | None = None) -> Iterator[bytes]:
        """Yield the body as it arrives; with `tick` also nothing, whenever so many seconds have brought nothing.

        Who is woken now and then also hears of a signal that came right before the wait began.
        """
        while True:
            if data := self._parser.body():
                yield data
            elif self._parser.finished:
                return
            elif tick is not None and not self.connection.readable(tick):
                yield b""
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
    """One connection to a daemon, used for one request after the other.

    A daemon may answer while a body of pieces is still on its way (progress of an upload): what is left of it is sent
    whenever there is nothing to read.
    """

    def __init__(self, stream: Channel) -> None:
        self.stream = stream
        self._unsent: Iterator[bytes] | None = None

    @property
    def sending(self) -> bool:
        """Whether a part of the request's body is still to be sent."""
        return self._unsent is not None

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
        if isinstance(body, bytes):
            if body or method in ("POST", "PUT"):
                headers = [*headers, ("Content-Length", str(len(body)))]
            first = request_head(method, target, headers) + body
        else:
            first = request_head(method, target, [*headers, ("Transfer-Encoding", "chunked")])
            self._unsent = iter(body)
        try:
            self.stream.sendall(first)
        except (BrokenPipeError, ConnectionResetError):
            # The daemon refused before it had read everything: its answer, if there is one, says why.
            self._unsent = None

    def answer(self, method: str) -> Response:
        """Wait for the head of the answer to the request that was sent."""
        parser = AnswerParser(method)
        while parser.head is None:
            parser.feed(self.receive())
        return Response(self, parser, parser.head)

    def _send_rest(self) -> None:
        """Send what is left of a body, until the daemon speaks."""
        while self._unsent is not None and not self._answered():
            piece = next(self._unsent, None)
            try:
                for part in (LAST_CHUNK,) if piece is None else chunk(piece) if piece else ():
                    self.stream.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                piece = None  # refused, as above
            if piece is None:
                self._unsent = None

    def _answered(self) -> bool:
        # Of an encrypted stream it is not known whether what has arrived is data: its body is sent first.
        return isinstance(self.stream, socket.socket) and self.stale()

    def readable(self, timeout: float) -> bool:
        """Wait for something to read, `timeout` seconds at most, unless there is something to send; say if there is."""
        if self.sending or (not isinstance(self.stream, socket.socket) and self.stream.pending()):
            return True
        return bool(select.select([self.stream], [], [], timeout)[0])

    def receive(self) -> bytes:
        """Read from the socket once; empty when the daemon has closed."""
        try:
            self._send_rest()
            return self.stream.recv(_RECEIVE)
        except ConnectionResetError:
            return b""

    def stale(self) -> bool:
        """Say whether there is something to read: of a connection that waits for its next request, its end."""
        return bool(select.select([self.stream], [], [], 0)[0])

    def close(self) -> None:
        self.stream.close()
