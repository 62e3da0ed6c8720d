"""Downloading a blob: from any offset, never more than its descriptor says, never waiting for ever.

The bytes are not hashed here; who takes them does that.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator

import aiohttp

from orlop.errors import InvalidArgument, NotFound
from orlop.model.oci.documents import Descriptor
from orlop.registry.client.failures import CONNECTION_ERRORS, Interrupted, from_connection, public_url
from orlop.registry.client.registry import Registry

__all__ = ["BlobStream", "open_blob"]

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII)
_LEAST_RATE = 128  # bytes a second: who sends less for as long as a stall lasts has stalled


class BlobStream:
    """The rest of a blob from `offset` on, in blocks as they arrive.

    Iterating raises `InvalidArgument` for more bytes than there should be, and `Interrupted` if the connection breaks,
    ends early or stalls: then the blob may be opened again behind what was received.
    """

    def __init__(self, response: aiohttp.ClientResponse | None, descriptor: Descriptor, offset: int, stall: float):
        self.offset = offset
        self._response = response
        self._descriptor = descriptor
        self._stall = stall

    async def __aiter__(self) -> AsyncIterator[bytes]:
        response = self._response
        if response is None:
            return
        left = self._descriptor.size - self.offset
        watch = _Watch(self._stall)
        while block := await self._block(response):
            left -= len(block)
            if left < 0:
                raise InvalidArgument(f"blob {self._descriptor.digest} has more bytes than {self._descriptor.size}")
            if watch.stalled(len(block)):
                raise Interrupted(f"{self._what(response)}: less than {_LEAST_RATE} bytes a second arrive")
            yield block
        if left:
            raise Interrupted(f"{self._what(response)}: unexpected EOF")

    async def _block(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            async with asyncio.timeout(self._stall):
                return await response.content.readany()
        except CONNECTION_ERRORS as error:
            raise from_connection("GET", str(response.url), error) from error

    @staticmethod
    def _what(response: aiohttp.ClientResponse) -> str:
        return f'Get "{public_url(str(response.url))}"'


class _Watch:
    """Tells a trickle from a stream."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begin = time.monotonic()
        self._bytes = 0

    def stalled(self, count: int) -> bool:
        """Count bytes that arrived; tell whether those of a whole period were too few."""
        self._bytes += count
        elapsed = time.monotonic() - self._begin
        if elapsed < self._seconds:
            return False
        too_few = self._bytes < elapsed * _LEAST_RATE
        self._begin, self._bytes = self._begin + elapsed, 0
        return too_few


@contextlib.asynccontextmanager
async def open_blob(
    registry: Registry, name: str, descriptor: Descriptor, offset: int, scopes: frozenset[str]
) -> AsyncIterator[BlobStream]:
    """Open a blob of the repository `name`; the stream's offset is 0 where the server does not do ranges."""
    stall = registry.patience.stall
    if offset >= descriptor.size > 0:
        yield BlobStream(None, descriptor, descriptor.size, stall)
        return
    response, start = await _request(registry, name, descriptor, offset, scopes)
    async with response:
        length = response.content_length
        if length is not None and length != descriptor.size - start:
            raise InvalidArgument(
                f"blob {descriptor.digest} has {start + length} bytes at {registry.endpoint.host}, "
                f"but its manifest says {descriptor.size}"
            )
        yield BlobStream(response, descriptor, start, stall)


async def _request(
    registry: Registry, name: str, descriptor: Descriptor, offset: int, scopes: frozenset[str]
) -> tuple[aiohttp.ClientResponse, int]:
    """Ask for the rest of a blob, for the whole if that fails; return the answer and where it begins."""
    url = registry.url(f"{name}/blobs/{descriptor.digest}")
    if offset > 0:
        wanted = {"Range": f"bytes={offset}-{descriptor.size - 1}"}
        response = await registry.call("GET", url, scopes=scopes, headers=wanted, accept=(200, 206, 416))
        if response.status == 200:
            return response, 0
        if response.status == 206 and _is_rest(response.headers.get("Content-Range", ""), offset, descriptor.size):
            return response, offset
        response.close()
    try:
        return await registry.call("GET", url, scopes=scopes), 0
    except NotFound as error:
        raise NotFound(f"blob {descriptor.digest} not found: {error}") from None


def _is_rest(content_range: str, offset: int, size: int) -> bool:
    """Tell whether a partial answer is what was asked for: all of the blob from `offset` on."""
    match = _CONTENT_RANGE.fullmatch(content_range.strip())
    if match is None:
        return False
    first, last, total = match.groups()
    return int(first) == offset and int(last) == size - 1 and total in ("*", str(size))
