"""The HTTP server of a registry: connections in, requests to handlers, answers and failures out.

A request that was begun is finished. `Server.close` takes no further ones and gives those under way a moment. A client
that sends a head too slowly, a body not at all, or does not read what it asked for, loses its connection; what it has
uploaded stays until the upload expires.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse
from aiohttp.web_server import Server as HttpServer

from orlop.errors import Error
from orlop.registry.server import blobs, lists, manifests, uploads
from orlop.registry.server.access import Access
from orlop.registry.server.call import COMMON, Call, empty, failed, json
from orlop.registry.server.failure import Failure
from orlop.registry.server.paths import Kind, Target, parse
from orlop.registry.server.writers import Writers
from orlop.registry.storage.storage import (
    BlobUnknown,
    DigestMismatch,
    ManifestUnknown,
    RepositoryUnknown,
    Storage,
    UploadUnknown,
)

if TYPE_CHECKING:
    import ssl

__all__ = ["Server"]

log = logging.getLogger(__name__)

_Handler = Callable[[Call], Awaitable[StreamResponse]]

_BACKLOG = 512
_MAX_LINE = 16 << 10
_READ_SIZE = 1 << 20
_IDLE = 75.0  # seconds without a request, or with a part of its head
_STALLED = 120.0  # seconds that a client may not read what it is sent, or be silent in a body
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_WRITES = frozenset(("POST", "PUT", "PATCH", "DELETE"))
_CODES: Mapping[type[Error], str] = {
    BlobUnknown: "BLOB_UNKNOWN",
    DigestMismatch: "DIGEST_INVALID",
    ManifestUnknown: "MANIFEST_UNKNOWN",
    RepositoryUnknown: "NAME_UNKNOWN",
    UploadUnknown: "BLOB_UPLOAD_UNKNOWN",
}


async def _root(call: Call) -> StreamResponse:
    return empty(200)


async def _base(call: Call) -> StreamResponse:
    return json({})


_HANDLERS: Mapping[Kind, Mapping[str, _Handler]] = {
    "root": {"GET": _root, "HEAD": _root},
    "base": {"GET": _base, "HEAD": _base},
    "catalog": {"GET": lists.catalog, "HEAD": lists.catalog},
    "tags": {"GET": lists.list_tags, "HEAD": lists.list_tags},
    "referrers": {"GET": lists.list_referrers, "HEAD": lists.list_referrers},
    "blob": {"GET": blobs.get_blob, "HEAD": blobs.head_blob, "DELETE": blobs.delete_blob},
    "manifest": {
        "GET": manifests.get_manifest,
        "HEAD": manifests.get_manifest,
        "PUT": manifests.put_manifest,
        "DELETE": manifests.delete_manifest,
    },
    "uploads": {"POST": uploads.begin},
    "upload": {
        "GET": uploads.status,
        "HEAD": uploads.status,
        "PATCH": uploads.write,
        "PUT": uploads.finish,
        "DELETE": uploads.cancel,
    },
}


class Server:
    """A registry on any number of listening sockets. `stalled` and `idle` are seconds."""

    def __init__(
        self,
        storage: Storage,
        access: Access,
        *,
        read_only: bool = False,
        stalled: float = _STALLED,
        idle: float = _IDLE,
    ) -> None:
        self._storage = storage
        self._access = access
        self._read_only = read_only
        self._stalled = stalled
        self._writers = Writers()
        self._listening: list[asyncio.Server] = []
        self._calls: dict[asyncio.Task[object], RequestHandler] = {}
        self._closing = False
        self._http = _HttpServer(
            self._handle,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=idle,
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_LINE,
            read_bufsize=_READ_SIZE,
        )

    async def listen(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve `sock`, a bound stream socket, which is the server's from now on."""
        loop = asyncio.get_running_loop()
        if sock.family == socket.AF_UNIX:
            server = await loop.create_unix_server(self._http, sock=sock, backlog=_BACKLOG)
        else:
            # Connections inherit it (tcp(7)): who does not acknowledge, or does not read, is cut off.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._stalled * 1000))
            server = await loop.create_server(self._http, sock=sock, backlog=_BACKLOG, ssl=tls)
        self._listening.append(server)

    async def close(self, patience: float = 30.0) -> None:
        """Take no more requests; those under way have `patience` seconds."""
        self._closing = True
        for server in self._listening:
            server.close()
        busy = set(self._calls.values())
        for connection in self._http.connections:
            if connection not in busy:  # a busy one would not hear the rest of its body
                connection.close()
        if self._calls:
            await asyncio.wait(self._calls, timeout=patience)
        late = [task for task in self._calls if not task.done()]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await self._http.shutdown(timeout=1.0)

    async def _handle(self, request: BaseRequest) -> StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._calls[task] = request.protocol
        started = time.monotonic()
        details: dict[str, object] = {"remote": request.remote or ""}
        status = 0
        try:
            user, answer = await self._respond(request)
            status = details["status"] = answer.status
            if user:
                details["user"] = user
            return answer
        except ConnectionError as error:
            details["broke-off"] = str(error) or "the client has left"
            raise
        finally:
            del self._calls[task]
            details["ms"] = round(1e3 * (time.monotonic() - started), 1)
            notable = request.method in _WRITES or status >= 500
            log.log(logging.INFO if notable else logging.DEBUG, "%s %s", request.method, request.path, extra=details)

    async def _respond(self, request: BaseRequest) -> tuple[str, StreamResponse]:
        user = ""
        try:
            user = await self._access.admit(request.headers.get("Authorization"))
            answer = await self._answer(request)
        except Failure as failure:
            answer = failed(failure)
        except Error as error:
            answer = failed(_failure(error))
        except ConnectionError:
            raise
        except Exception as error:  # whatever it is, the client gets an answer
            if request.writer.output_size > 0:
                log.error("%s %s failed in its answer", request.method, request.path, exc_info=error)
                raise ConnectionResetError("the answer cannot be finished") from None
            answer = failed(_unexpected(request, error))
        if not answer.prepared:
            answer.headers.update(COMMON)
            if self._closing:
                answer.force_close()
        return user, answer

    async def _answer(self, request: BaseRequest) -> StreamResponse:
        target = parse(request.raw_path)
        if target is None:
            raise Failure("UNSUPPORTED", "there is no such path in the registry's API", status=404)
        if self._read_only and request.method in _WRITES:
            raise Failure("DENIED", "the registry is read-only", status=405, headers={"Allow": "GET, HEAD"})
        return await self._handler(request, target)(Call(request, target, self._storage, self._writers, self._stalled))

    def _handler(self, request: BaseRequest, target: Target) -> _Handler:
        handlers = _HANDLERS[target.kind]
        handler = handlers.get(request.method)
        if handler is None:
            raise Failure("UNSUPPORTED", headers={"Allow": ", ".join(handlers)})
        return handler


def _failure(error: Error) -> Failure:
    code = _CODES.get(type(error), "UNKNOWN")
    if error.status >= 500:
        log.error("%s", error.message)
    return Failure(code, detail=error.message, status=error.status)


def _unexpected(request: BaseRequest, error: Exception) -> Failure:
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        log.error("%s %s: no space left on device", request.method, request.path)
        return Failure("UNKNOWN", "no space left on device", status=507)
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return Failure("UNKNOWN")


class _Connection(RequestHandler):
    """aiohttp's connection, but with failures told as a registry tells them."""

    __slots__ = ()

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> StreamResponse:
        """Answer what was not even HTTP; of handlers only what broke off comes here."""
        if request.writer.output_size > 0 or isinstance(exc, ConnectionError):
            raise ConnectionResetError("the answer cannot be finished") from exc
        log.debug("malformed request: %s", message or exc)
        answer = failed(Failure("UNSUPPORTED", (message or "malformed request")[:512], status=status))
        answer.headers.update(COMMON)
        answer.force_close()
        return answer


class _HttpServer(HttpServer):
    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)
