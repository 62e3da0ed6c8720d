"""The same calls for async programs: `AsyncEngine` is `Engine` with awaits. The only place here that loads asyncio."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orlop import errors
from orlop.client.call import Call, Json, T
from orlop.client.endpoint import Endpoint
from orlop.client.engine import API_VERSION, BLANK, FIXED_HEADERS, failure, too_new
from orlop.client.http1 import LAST_CHUNK, AnswerParser, Head, chunk, request_head
from orlop.client.transport import CannotConnect

__all__ = ["AsyncEngine", "AsyncResponse"]

_RECEIVE = 1 << 18


class AsyncResponse:
    """The answer to a request: the head is there, the body is read as it comes."""

    def __init__(self, reader: asyncio.StreamReader, parser: AnswerParser, head: Head) -> None:
        self._reader = reader
        self._parser = parser
        self.status = head.status
        self.reason = head.reason
        self.headers = head.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives."""
        while True:
            if data := self._parser.body():
                yield data
            elif self._parser.finished:
                return
            else:
                self._parser.feed(await self._reader.read(_RECEIVE))

    async def read(self) -> bytes:
        """Return the rest of the body."""
        return b"".join([chunk async for chunk in self.chunks()])


async def _request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, call: Call[T], target: str
) -> AsyncResponse:
    headers = [*FIXED_HEADERS, ("Connection", "close"), *call.headers]
    if isinstance(call.body, bytes):
        writer.write(request_head(call.method, target, [*headers, ("Content-Length", str(len(call.body)))]))
        writer.write(call.body)
    else:
        writer.write(request_head(call.method, target, [*headers, ("Transfer-Encoding", "chunked")]))
        for piece in call.body:
            if piece:
                writer.writelines(chunk(piece))
                await writer.drain()
        writer.write(LAST_CHUNK)
    await writer.drain()
    parser = AnswerParser(call.method)
    while parser.head is None:
        parser.feed(await reader.read(_RECEIVE))
    return AsyncResponse(reader, parser, parser.head)


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
            writer, response = await self._start(call)
        except errors.InvalidArgument as error:
            older = None if self._negotiated else too_new(error)
            if older is None or not isinstance(call.body, bytes):
                raise
            self._negotiated, self.version = True, older
            writer, response = await self._start(call)
        try:
            yield response
        finally:
            await _close(writer)

    async def _start(self, call: Call[T]) -> tuple[asyncio.StreamWriter, AsyncResponse]:
        reader, writer = await self._connect()
        try:
            response = await _request(reader, writer, call, f"/v{self.version}{call.target}")
            if response.status >= 400:
                body = await response.read()
                raise failure(response.status, response.reason, response.headers.get("content-type", ""), body)
        except BaseException:
            await _close(writer)
            raise
        return writer, response

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


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:  # the daemon was first
        pass
