"""HTTP/1.1 over a socket: one request at a time, bodies as streams, and the socket itself when a stream is hijacked.

The protocol is h11's; this module moves the bytes. Nothing here knows the Engine API.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import h11

from orlop.client.endpoint import Endpoint
from orlop.errors import Error, Unavailable

__all__ = ["CannotConnect", "Connection", "Dialer", "Response", "Stream", "connect"]

_RECEIVE = 1 << 18


class CannotConnect(Unavailable):
    """Nobody answers at the daemon's address, or the client may not go there."""


class Stream(Protocol):
    """The part of a socket that is used here; plain or TLS."""

    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...
    def shutdown(self, how: int, /) -> None: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


Dialer = Callable[[Endpoint], Stream]


def connect(endpoint: Endpoint) -> Stream:
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


def _connect_unix(path: str) -> Stream:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect("\0" + path[1:] if path.startswith("@") else path)
    except OSError as error:
        sock.close()
        # The kernel takes 107 bytes; a longer path is reached through a descriptor of its directory.
        if "too long" not in str(error):
            raise
        return _connect_deep(path)
    return sock


def _connect_deep(path: str) -> Stream:
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(directory)
    return sock


def _connect_tcp(endpoint: Endpoint) -> Stream:
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

    def __init__(self, connection: Connection, event: h11.Response | h11.InformationalResponse) -> None:
        self.connection = connection
        self.status: int = event.status_code
        self.reason = event.reason.decode("latin-1")
        self.headers = {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers}
        self.finished = False

    def header(self, name: str) -> str:
        """Return a header by its lower-case name, empty when it is absent."""
        return self.headers.get(name, "")

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives."""
        while not self.finished:
            event = self.connection.next_event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            else:
                self.finished = True

    def read(self) -> bytes:
        """Return the rest of the body."""
        return b"".join(self.chunks())

    def available(self, *, receive: bool) -> bytes:
        """Return what has arrived, after at most one read from the socket: for a caller that watches `fileno`."""
        parts = []
        while not self.finished:
            event = self.connection.buffered_event()
            if event is h11.NEED_DATA:
                if not receive:
                    break
                receive = False
                self.connection.receive()
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
            else:
                self.finished = True
        return b"".join(parts)

    def fileno(self) -> int:
        return self.connection.fileno()

    def close(self) -> None:
        """Give the connection up, whether or not the body was read."""
        self.connection.close()


class Connection:
    """One connection to a daemon, used for one request after the other."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._http = h11.Connection(h11.CLIENT)

    def request(
        self, method: str, target: str, headers: list[tuple[str, str]], body: bytes | Iterable[bytes] = b""
    ) -> Response:
        """Send a request and return its answer's head; raise `Error` when the daemon goes away meanwhile.

        A body of bytes is sent with its length, one of pieces in chunks.
        """
        headers = [*headers, _length_header(body)] if body or method in ("POST", "PUT") else headers
        try:
            self._send(h11.Request(method=method, target=target, headers=headers))
            self._send_body(body)
        except (BrokenPipeError, ConnectionResetError):
            # The daemon refused before it had read everything: its answer says why.
            self._http.send_failed()
        event = self.next_event()
        while isinstance(event, h11.InformationalResponse) and event.status_code != 101:
            event = self.next_event()
        if not isinstance(event, h11.Response | h11.InformationalResponse):
            raise Error("error during connect: the daemon closed the connection without an answer")
        return Response(self, event)

    def _send_body(self, body: bytes | Iterable[bytes]) -> None:
        for piece in (body,) if isinstance(body, bytes) else body:
            if piece:
                self._send(h11.Data(data=piece))
        self._send(h11.EndOfMessage())

    def _send(self, event: h11.Event) -> None:
        for piece in self._http.send_with_data_passthrough(event) or ():
            self.stream.sendall(piece)

    def buffered_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return the next event that needs no reading, or `h11.NEED_DATA`."""
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise Error(f"error during connect: malformed HTTP response: {error}") from error

    def receive(self) -> None:
        """Read from the socket once."""
        try:
            self._http.receive_data(self.stream.recv(_RECEIVE))
        except ConnectionResetError:
            self._http.receive_data(b"")

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return the next event, reading as long as it takes."""
        while (event := self.buffered_event()) is h11.NEED_DATA:
            self.receive()
        return event

    def detach(self) -> tuple[Stream, bytes]:
        """Take the socket away after a head that switched to a raw stream; return it and what arrived behind."""
        return self.stream, bytes(self._http.trailing_data[0])

    def stale(self) -> bool:
        """Say whether the daemon has closed (or broken) a connection that waits for its next request."""
        return bool(select.select([self.stream], [], [], 0)[0])

    def reusable(self) -> bool:
        """Make the connection ready for another request, if both sides have finished this one."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        return False

    def fileno(self) -> int:
        return self.stream.fileno()

    def close(self) -> None:
        self.stream.close()


def _length_header(body: bytes | Iterable[bytes]) -> tuple[str, str]:
    if isinstance(body, bytes):
        return "Content-Length", str(len(body))
    return "Transfer-Encoding", "chunked"
