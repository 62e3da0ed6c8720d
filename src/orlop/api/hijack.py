"""Connections that change hands: an HTTP request whose answer is a raw stream (attach, exec).

The invariant: no byte of a client is lost or taken for HTTP when its connection becomes a stream, and a client that
has said all it has to say (half-close) still gets every answer. aiohttp does neither: its parser knows no upgrade but
WebSocket, so that bytes behind the head of an attach are dropped or parsed as the next request, and it closes a
connection at the client's end of file. So `Connection` watches for message boundaries, recognises the routes that may
be hijacked by their request line, gives the parser exactly that message without its upgrade headers, and keeps what
follows as the candidate's `tail`. The route's handler then either answers as usual (`Connection.release` gives the
tail back to the parser: keep-alive goes on) or calls `Upgrade.upgrade`, which writes the head of the stream and hands
out a descriptor. After that the daemon holds no copy of the socket: whoever got the descriptor ends the connection.

A TLS connection has no descriptor that would carry plain bytes; `orlop.api.relay` carries them through a socket pair.

This is the only module that touches private parts of aiohttp (3.14) and of asyncio's TLS.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orlop.api import aiohttp_parts
from orlop.api.aiohttp_parts import BaseRequest, RequestHandler, Response, StreamResponse
from orlop.api.relay import Relay
from orlop.errors import InvalidArgument

__all__ = ["MULTIPLEXED_STREAM", "RAW_STREAM", "Connection", "Server", "Taken", "Upgrade"]

log = logging.getLogger(__name__)

RAW_STREAM = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM = "application/vnd.docker.multiplexed-stream"

_MAX_HEAD = 64 << 10
_MAX_BODY = 1 << 20
_MAX_TAIL = 1 << 20  # what a client may send ahead of the answer before it has to wait

_HIJACKABLE = re.compile(
    rb"POST (?:/v[0-9.]+)?/(?:containers/[^ ?]+/attach|exec/[^ ?]+/start|orlop/build/kept/[^ ?]+/shell)"
    rb"(?:\?[^ ]*)? HTTP/1\.[01]"
)
_LENGTH = re.compile(rb"\r\nContent-Length:[ \t]*([0-9]{1,12})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\nTransfer-Encoding:[^\r\n]*chunked[^\r\n]*\r\n", re.IGNORECASE)
_UPGRADE = re.compile(rb"\r\nUpgrade:[^\r\n]*", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nExpect:[^\r\n]*", re.IGNORECASE)
_CONNECTION = re.compile(rb"\r\nConnection:[^\r\n]*upgrade[^\r\n]*", re.IGNORECASE)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(eq=False, slots=True)
class _Candidate:
    """A request that may become a stream: whether it asked for an upgrade, and what came behind it."""

    upgrade: bool
    tail: bytearray
    message: object = None


@dataclass(eq=False, slots=True)
class _Head:
    """The beginning of a message that is not whole yet."""

    data: bytearray = field(default_factory=bytearray)
    continued: bool = False


class Connection(RequestHandler):
    """A client's connection: aiohttp's, but for hijackable requests."""

    __slots__ = ("_candidate", "_eof", "_head", "_in_head", "_payload", "_relay", "_stream", "_taken")

    def __init__(self, manager: aiohttp_parts.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._head = _Head()
        self._in_head = False  # the parser has the beginning of a head
        self._payload: Any = None  # the body of the last message
        self._candidate: _Candidate | None = None
        self._relay: Relay | None = None
        self._stream: asyncio.Task[object] | None = None
        self._eof = False
        self._taken = False

    def data_received(self, data: bytes) -> None:
        if not data:
            self._parse(data)  # aiohttp lets its parser go on
        elif self._relay is not None:
            self._relay.feed(data)
        elif self._candidate is not None:
            self._keep(data)
        elif self._at_boundary() or self._head.data:
            self._begin(data)
        else:
            self._parse(data)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        if self._candidate is None and self._relay is None:
            return None
        self._eof = True
        if self._relay is not None:
            self._relay.feed_eof()
        return self.ssl_context is None or None  # with TLS the transport is kept open by `_hold_shutdown`

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._relay is not None:
            self._relay.lost()
        super().connection_lost(exc)
        if self._stream is not None:
            self._stream.cancel()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._relay is not None:
            self._relay.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._relay is not None:
            self._relay.resume()

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> StreamResponse:
        """Answer what was not even HTTP; of handlers only what broke off comes here."""
        if request.writer.output_size > 0:
            raise ConnectionResetError("the answer cannot be finished") from exc
        log.debug("malformed request: %s", message or exc)
        body = json.dumps({"message": message or "malformed request"}).encode()
        answer = Response(body=body, status=status, content_type="application/json")
        answer.force_close()
        return answer

    def cancel_when_lost(self, task: asyncio.Task[object] | None) -> None:
        """Cancel `task`, the one that is answering, when the client goes; None: nothing any more."""
        self._stream = task
        if task is not None and self.transport is None:
            task.cancel()

    def upgrade_of(self, request: BaseRequest, multiplexed: bool, headers: Mapping[str, str]) -> Upgrade | None:
        """Return the means to make a stream of `request`, None when it is no candidate."""
        candidate = self._candidate
        if candidate is None or candidate.message is not request._message:
            return None
        return Upgrade(self, candidate, multiplexed, headers)

    def release(self, request: BaseRequest) -> None:
        """Go on as HTTP after `request`, which is answered without becoming a stream."""
        candidate = self._candidate
        if candidate is None or candidate.message is not request._message or self._taken or self._relay is not None:
            return
        self._candidate = None
        self._release_shutdown()
        if self._eof or self.transport is None:
            self.close()
            return
        self.transport.resume_reading()
        if candidate.tail:
            self.data_received(bytes(candidate.tail))

    def _begin(self, data: bytes) -> None:
        """Take the beginning of a message: pass it on, or find a candidate in it."""
        head = self._head
        head.data += data
        if not head.data.startswith(b"POST /"[: len(head.data)]):
            return self._pass()
        line = head.data.find(b"\r\n")
        if line < 0:
            return None if len(head.data) < _MAX_HEAD else self._pass()
        if not _HIJACKABLE.fullmatch(head.data, 0, line):
            return self._pass()
        end = head.data.find(b"\r\n\r\n") + 4
        if end < 4:
            return None if len(head.data) < _MAX_HEAD else self._pass()
        lines = bytes(head.data[:end])
        body_end = _body_end(lines, head.data)
        if body_end < 0:
            if len(head.data) > _MAX_HEAD + _MAX_BODY:
                return self._pass()
            if not head.continued and self.transport is not None and _EXPECT.search(lines):
                head.continued = True
                self.transport.write(_CONTINUE)
            return None
        self._head = _Head()
        self._offer(lines, bytes(head.data[end:body_end]), head.data[body_end:])
        return None

    def _offer(self, lines: bytes, body: bytes, tail: bytearray) -> None:
        candidate = _Candidate(upgrade=_UPGRADE.search(lines) is not None, tail=tail)
        for pattern in (_UPGRADE, _EXPECT, _CONNECTION):
            lines = pattern.sub(b"", lines)
        count = self._request_count
        self._parse(lines + body)
        if self._request_count == count:  # the parser does not see a message where we do
            return self.force_close()
        candidate.message = self._messages[-1][0]
        self._candidate = candidate
        self._hold_shutdown()
        return None

    def _pass(self) -> None:
        data, self._head = bytes(self._head.data), _Head()
        self._parse(data)

    def _at_boundary(self) -> bool:
        return not self._in_head and (self._payload is None or self._payload.is_eof())

    def _parse(self, data: bytes) -> None:
        begins = bool(data) and self._at_boundary()
        count = self._request_count
        super().data_received(data)
        if self._request_count != count and self._messages:
            self._payload = self._messages[-1][1]
            self._in_head = False
        elif begins:
            self._in_head = True

    def _keep(self, data: bytes) -> None:
        assert self._candidate is not None
        self._candidate.tail += data
        if len(self._candidate.tail) > _MAX_TAIL and self.transport is not None:
            self.transport.pause_reading()

    def _hold_shutdown(self) -> None:
        """Keep asyncio from closing a TLS connection when the client ends its half (close_notify)."""
        if self.ssl_context is not None and self.transport is not None:
            self.transport._ssl_protocol._start_shutdown = lambda: None  # type: ignore[attr-defined]

    def _release_shutdown(self) -> None:
        if self.ssl_context is not None and self.transport is not None:
            vars(self.transport._ssl_protocol).pop("_start_shutdown", None)  # type: ignore[attr-defined]


class Upgrade:
    """Makes a stream of a request; an `orlop.engine.hijack.Hijackable`."""

    def __init__(
        self, connection: Connection, candidate: _Candidate, multiplexed: bool, headers: Mapping[str, str]
    ) -> None:
        self._connection = connection
        self._candidate = candidate
        self._multiplexed = multiplexed
        self._headers = headers
        self.relay: Relay | None = None
        self.done = False

    async def upgrade(self, *, tty: bool) -> tuple[int, bytes]:
        """Answer with the head of a stream and give the connection away.

        Raises `ConnectionResetError` when the client is gone. After an error of any kind nothing is the caller's.
        """
        connection, candidate = self._connection, self._candidate
        transport = connection.transport
        if self.done or connection._candidate is not candidate:
            raise InvalidArgument("the connection was already hijacked")
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self.done = True
        transport.pause_reading()
        transport.set_write_buffer_limits(high=0)
        transport.write(self._answer(tty))
        while transport.get_write_buffer_size():
            await connection._drain_helper()
        if connection.ssl_context is not None:
            return await self._relayed(transport)
        fd = os.dup(transport.get_extra_info("socket").fileno())
        connection._taken = True
        transport.abort()  # closes this process's copy alone: no FIN while another holds one
        return fd, bytes(candidate.tail)

    async def _relayed(self, transport: asyncio.Transport) -> tuple[int, bytes]:
        connection = self._connection
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            relay = Relay(transport, connection._release_shutdown)
            await asyncio.get_running_loop().create_connection(lambda: relay, sock=ours)
        except BaseException:
            ours.close()
            theirs.close()
            raise
        self.relay = connection._relay = relay
        tail = bytes(self._candidate.tail)
        if connection._eof:
            relay.feed_eof()
        transport.set_write_buffer_limits()
        transport.resume_reading()
        return theirs.detach(), tail

    def _answer(self, tty: bool) -> bytes:
        if self._candidate.upgrade:
            kind = MULTIPLEXED_STREAM if self._multiplexed and not tty else RAW_STREAM
            lines = ["HTTP/1.1 101 UPGRADED", f"Content-Type: {kind}", "Connection: Upgrade", "Upgrade: tcp"]
        else:
            lines = ["HTTP/1.1 200 OK", f"Content-Type: {RAW_STREAM}"]
        lines += [f"{name}: {value}" for name, value in self._headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Taken(StreamResponse):
    """The answer of a handler whose connection is a stream now: nothing is written."""

    def __init__(self, relay: Relay | None = None) -> None:
        super().__init__()
        self._relayed = relay
        self.force_close()

    async def prepare(self, request: BaseRequest) -> None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        if self._relayed is not None:
            await self._relayed.closed.wait()


class Server(aiohttp_parts.Server):
    """aiohttp's server with our connections."""

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)


def _body_end(head: bytes, data: bytearray) -> int:
    """Return where the message ends that begins with `head` in `data`, -1 when it is not whole yet."""
    if _CHUNKED.search(head):
        return _chunks_end(data, len(head))
    length = _LENGTH.search(head)
    end = len(head) + (int(length[1]) if length else 0)
    return end if len(data) >= end else -1


def _chunks_end(data: bytearray, start: int) -> int:
    """Return where the chunked body (RFC 9112, 7.1) that begins at `start` ends, -1 when it is not whole yet."""
    while True:
        line = data.find(b"\r\n", start)
        if line < 0:
            return -1
        try:
            size = int(bytes(data[start:line]).partition(b";")[0], 16)
        except ValueError:
            return line + 2  # malformed: the parser says so
        if size == 0:
            break
        start = line + 2 + size + 2
    start = line + 2
    while True:  # trailer fields, then an empty line
        line = data.find(b"\r\n", start)
        if line < 0:
            return -1
        if line == start:
            return line + 2
        start = line + 2
