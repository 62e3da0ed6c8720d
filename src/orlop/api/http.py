"""The HTTP server of the API: connections in, calls to handlers, answers and errors out.

Every call runs in a task of its own. A call that was begun is finished, whether its client is still there or not: half
a start helps nobody. Only answers that go on are cancelled when their client goes. `Api.close` stops listening, ends
the streams, gives calls a moment to finish and leaves connections that were handed on (attach, exec) alone.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import TYPE_CHECKING

from orlop.api.aiohttp_parts import BaseRequest, StreamResponse
from orlop.api.call import Answer, Call, empty, failure
from orlop.api.hijack import Connection, Server, Taken
from orlop.api.router import Match, Router, split_target
from orlop.api.routes import ROUTES
from orlop.api.versions import parse_version
from orlop.errors import Error, NotModified

if TYPE_CHECKING:
    import ssl

    from orlop.engine.engine import Engine

__all__ = ["Api"]

log = logging.getLogger(__name__)

_MAX_LINE = 256 << 10  # a query carries filters, a header the credentials of many registries
_READ_SIZE = 512 << 10
_BACKLOG = 512
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Api:
    """The API of one engine, on any number of listening sockets."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._router = Router(ROUTES)
        self._listening: list[asyncio.Server] = []
        self._calls: set[asyncio.Task[object]] = set()
        self._streams: set[asyncio.Task[object]] = set()
        self._closing = False
        self._server = Server(
            self._handle,
            access_log=None,
            auto_decompress=False,
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_LINE,
            read_bufsize=_READ_SIZE,
        )

    async def listen(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve `sock`, a bound stream socket, which is the server's from now on."""
        loop = asyncio.get_running_loop()
        if sock.family == socket.AF_UNIX:
            server = await loop.create_unix_server(self._server, sock=sock, backlog=_BACKLOG)
        else:
            server = await loop.create_server(self._server, sock=sock, backlog=_BACKLOG, ssl=tls)
        self._listening.append(server)

    async def close(self, patience: float = 5.0) -> None:
        """Take no more connections and end: streams at once, calls within `patience` seconds."""
        self._closing = True
        for server in self._listening:
            server.close()
        for task in self._streams:
            task.cancel()
        self._server.pre_shutdown()
        if self._calls:
            await asyncio.wait(self._calls, timeout=patience)
        late = [task for task in self._calls if not task.done()]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await self._server.shutdown(timeout=1.0)

    async def _handle(self, request: BaseRequest) -> StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._calls.add(task)
        connection = request.protocol
        assert isinstance(connection, Connection)
        try:
            return await self._respond(request, connection, task)
        finally:
            self._calls.discard(task)
            self._streams.discard(task)
            connection.cancel_when_lost(None)

    async def _respond(
        self, request: BaseRequest, connection: Connection, task: asyncio.Task[object]
    ) -> StreamResponse:
        version, path, query = split_target(request.raw_path)
        match = self._router.find(request.method, path)
        if match is None:
            return self._unrouted(request)
        try:
            call = Call(request, self._engine, parse_version(version), match.parts, query)
        except Error as error:
            connection.release(request)
            return _error(error)
        log.debug("calling %s", call)
        call.on_stream = lambda: self._begin_stream(task, connection)
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(_CONTINUE)
        response = await self._call(match, call)
        upgrade = call.hijacked
        if upgrade is not None:
            return Taken(upgrade.relay)
        connection.release(request)
        return response

    async def _call(self, match: Match, call: Call) -> StreamResponse:
        try:
            response = await match.route.handler(call)
        except Error as error:
            if not call.started and call.hijacked is None:
                return _error(error)
            log.error("%s failed after its answer had begun: %s", call, error)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 whatever it is, the client gets an answer
            failed = _unexpected(call, error)
            if not call.started and call.hijacked is None:
                return failed
        else:
            return response
        if call.hijacked is not None:
            return Taken()
        raise ConnectionResetError("the answer cannot be finished")  # the client sees a stream that breaks off

    def _begin_stream(self, task: asyncio.Task[object], connection: Connection) -> None:
        self._streams.add(task)
        connection.cancel_when_lost(task)
        if self._closing:
            task.cancel()

    def _unrouted(self, request: BaseRequest) -> Answer:
        if request.method == "OPTIONS":
            return empty(200)
        return failure("page not found", 404)


def _error(error: Error) -> Answer:
    if isinstance(error, NotModified):
        return empty(304)
    if error.status >= 500:
        log.error("%s", error.message)
    return failure(error.message, error.status)


def _unexpected(call: Call, error: Exception) -> Answer:
    """Answer what no part of the engine foresaw. A full disk may show itself anywhere."""
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        log.error("%s failed: %s", call, error)
        return failure("no space left on device" + (f": {error.filename}" if error.filename else ""), 503)
    log.error("%s failed", call, exc_info=error)
    return failure(str(error) or type(error).__name__, 500)
