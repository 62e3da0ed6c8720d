"""One request, and the answers to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from aiohttp.web_protocol import RequestPayloadError
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse

from orlop.registry.server.failure import Failure, document
from orlop.registry.server.paths import Target
from orlop.registry.server.writers import Writers
from orlop.registry.storage.storage import Blob, Repository, Storage

__all__ = ["COMMON", "BlobAnswer", "Call", "Gone", "empty", "failed", "head", "json"]

COMMON = {"Docker-Distribution-Api-Version": "registry/2.0", "X-Content-Type-Options": "nosniff", "Server": "Orlop"}
"""Headers of every answer."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BLOCK = 1 << 20
_NO_LENGTH = (204, 304)


class Gone(ConnectionError):
    """The client has left, or has said nothing for too long, in the middle of a body."""


class Call:
    """A request about `target`. `patience` is how many seconds a body may stand still."""

    def __init__(
        self, request: BaseRequest, target: Target, storage: Storage, writers: Writers, patience: float
    ) -> None:
        self.request = request
        self.target = target
        self.storage = storage
        self.writers = writers
        self.user = ""
        self._patience = patience

    @property
    def repository(self) -> Repository:
        """The repository that the path names."""
        return self.storage.repository(self.target.name)

    @property
    def is_head(self) -> bool:
        return self.request.method == "HEAD"

    @property
    def length(self) -> int | None:
        """The length that the body's head announces, None for a chunked body."""
        if "Transfer-Encoding" in self.request.headers:
            return None
        return self.request.content_length or 0

    def matches(self, tag: str) -> bool:
        """Tell whether the client has what has this entity tag already (If-None-Match, RFC 9110, 13.1.2)."""
        header = self.request.headers.get("If-None-Match", "")
        return any(given.strip().removeprefix("W/") in (f'"{tag}"', tag, "*") for given in header.split(","))

    async def blocks(self) -> AsyncIterator[list[bytes]]:
        """Yield the body in portions of about a MiB, as the pieces that came. Raises `Gone`; what came is yielded."""
        if self.request.headers.get("Expect", "").lower() == "100-continue" and self.request.transport is not None:
            self.request.transport.write(_CONTINUE)
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := await self._piece():
                pieces.append(piece)
                size += len(piece)
                if size >= _BLOCK:
                    yield pieces
                    pieces, size = [], 0
        except Gone:
            if pieces:
                yield pieces
            raise
        if pieces:
            yield pieces

    async def body(self, limit: int) -> bytes:
        """Return the whole of a small body. Raises `Failure` (413) if it has more than `limit` bytes."""
        too_long = Failure("MANIFEST_INVALID", f"manifest is longer than {limit} bytes", status=413)
        if (self.length or 0) > limit:
            raise too_long
        data = bytearray()
        async for pieces in self.blocks():
            data += b"".join(pieces)
            if len(data) > limit:
                raise too_long
        return bytes(data)

    async def _piece(self) -> bytes:
        try:
            async with asyncio.timeout(self._patience):
                return await self.request.content.readany()
        except TimeoutError:
            raise Gone(f"the body stood still for {self._patience:g} seconds") from None
        except (ConnectionError, RequestPayloadError) as error:
            raise Gone(str(error) or "the client has left") from None


class BlobAnswer(StreamResponse):
    """An answer whose body is a part of a file, which the kernel copies to the socket where it can (sendfile(2))."""

    def __init__(self, blob: Blob, start: int, length: int, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(status=status, headers=COMMON | dict(headers))
        self.content_length = length
        self._blob = blob
        self._start_at = start
        self._length = length

    async def write_body(self, request: BaseRequest) -> None:
        """Send head and body. Raises `ConnectionError` when the client leaves."""
        await self.prepare(request)
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        if self._length:
            await asyncio.get_running_loop().sendfile(transport, self._blob.file, self._start_at, self._length)
        await self.write_eof()


def empty(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer without a body."""
    fixed = {} if status in _NO_LENGTH else {"Content-Length": "0"}
    return Response(status=status, headers=fixed | dict(headers or {}))


def head(length: int, headers: Mapping[str, str]) -> StreamResponse:
    """Return the answer to HEAD for what has `length` bytes."""
    answer = StreamResponse(headers=headers)
    answer.content_length = length
    return answer


def json(value: Any, headers: Mapping[str, str] | None = None, *, kind: str = "application/json") -> Response:
    """Return a document."""
    return Response(body=msgspec.json.encode(value), headers={"Content-Type": kind} | dict(headers or {}))


def failed(failure: Failure) -> Response:
    """Return the answer that tells of a failure."""
    return Response(
        body=msgspec.json.encode(document(failure)),
        status=failure.status,
        headers={"Content-Type": "application/json"} | failure.headers,
    )
