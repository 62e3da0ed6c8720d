"""The same calls for async programs: `AsyncEngine` is `Engine` with awaits. The only place here that loads asyncio."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import h11

from orlop import errors
from orlop.client.call import Call, Json
from orlop.client.endpoint import Endpoint
from orlop.client.engine import API_VERSION, BLANK, FIXED_HEADERS, failure, too_new
from orlop.client.transport import CannotConnect

__all__ = ["AsyncEngine", "AsyncResponse"]

_RECEIVE = 1 << 18
T = TypeVar("T")


class AsyncResponse:
    """The answer to a request: the head is there, the body is read as it comes."""

    def __init__(self, exchange: _Exchange, event: h11.Response) -> None:
        self._exchange = exchange
        self.status: int = event.status_code
        self.reason = event.reason.decode("latin-1")
        self.headers = {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers}

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives."""
        while isinstance(event := await self._exchange.next_event(), h11.Data):
            yield bytes(event.data)

    async def read(self) -> bytes:
        """Return the rest of the body."""
        return b"".join([chunk async for chunk in self.chunks()])


class _Exchange:
    """One request and its answer on a connection of their own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)

    async def request(self, call: Call[T], target: str) -> AsyncResponse:
        headers = [*FIXED_HEADERS, ("Connection", "close"), *call.headers]
        pieces = (call.body,) if isinstance(call.body, bytes) else call.body
        if isinstance(call.body, bytes):
            headers.append(("Content-Length", str(len(call.body))))
        else:
            headers.append(("Transfer-Encoding", "chunked"))
        await self._send(h11.Request(method=call.method, target=target, headers=headers))
        for piece in pieces:
            if piece:
                await self._send(h11.Data(data=piece))
        await self._send(h11.EndOfMessage())
        event = await self.next_event()
        while isinstance(event, h11.InformationalResponse):
            event = await self.next_event()
        if not isinstance(event, h11.Response):
            raise errors.Error("error during connect: the daemon closed the connection without an answer")
        return AsyncResponse(self, event)

    async def _send(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()

    async def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(_RECEIVE))
        return event

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:  # the daemon was first
            pass


class AsyncEngine:
    """The daemon behind `endpoint`, for async programs. Every call has a connection of its own.

    `version` is the API version in use; `pinned` keeps to one.
    """

    def __init__(self, endpoint: Endpoint, *, pinned: str = "") -> None:
        self.endpoint = endpoint
        self.version = pinned or API_VERSION
        self._negotiated = bool(pinned)

    async def do(self, call: Call[T]) -> T:
        """Carry `call` out and return its decoded answer; raise the `orlop.errors` type of its status."""
        async with self.open(call) as response:
            return call.decode(await response.read())

    async def json_lines(self, call: Call[T]) -> AsyncIterator[Json]:
        """Yield the JSON objects of a streamed answer as they arrive."""
        rest = b""
        async with self.open(call) as response:
            async for chunk in response.chunks():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.strip(BLANK):
                        yield json.loads(line.strip(BLANK))
        if rest.strip(BLANK):
            yield json.loads(rest.strip(BLANK))

    @asynccontextmanager
    async def open(self, call: Call[T]) -> AsyncIterator[AsyncResponse]:
        """Carry `call` out and give its answer with the body unread; the connection ends with the block."""
        try:
            async with self._attempt(call) as response:
                yield response
                return
        except errors.InvalidArgument as error:
            older = None if self._negotiated else too_new(error)
            if older is None or not isinstance(call.body, bytes):
                raise
            self._negotiated, self.version = True, older
        async with self._attempt(call) as response:
            yield response

    @asynccontextmanager
    async def _attempt(self, call: Call[T]) -> AsyncIterator[AsyncResponse]:
        exchange = _Exchange(*await self._connect())
        try:
            response = await exchange.request(call, f"/v{self.version}{call.target}")
            if response.status >= 400:
                body = await response.read()
                raise failure(response.status, response.reason, response.headers.get("content-type", ""), body)
            yield response
        finally:
            await exchange.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            if self.endpoint.scheme == "unix":
                return await asyncio.open_unix_connection(self.endpoint.address)
            if self.endpoint.scheme == "tcp":
                host, _, port = self.endpoint.address.rpartition(":")
                return await asyncio.open_connection(host.strip("[]"), int(port), ssl=self._tls())
        except OSError as error:
            raise CannotConnect(
                f"Cannot connect to the Orlop daemon at {self.endpoint.host}. Is orlopd running? ({error})"
            ) from error
        raise CannotConnect(f"unable to connect to {self.endpoint.host}: unsupported protocol {self.endpoint.scheme}")

    def _tls(self) -> ssl.SSLContext | None:
        if self.endpoint.tls is None:
            return None
        from orlop.client.tls import client_context

        return client_context(self.endpoint.tls)
