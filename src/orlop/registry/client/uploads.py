"""Uploading a blob (distribution-spec, pushing blobs): in one request, in chunks where that does not work.

A broken connection costs what was under way: the registry is asked how much it has, and gets the rest in chunks.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

import aiohttp

from orlop.errors import Internal, InvalidArgument
from orlop.formats.digest import Digest
from orlop.model.oci.documents import Descriptor
from orlop.registry.client.failures import Interrupted, RegistryError, public_url
from orlop.registry.client.registry import Registry
from orlop.registry.client.transport import Body, check_stored, resolve

__all__ = ["Open", "Upload"]

Open = Callable[[], AsyncIterator[bytes]]
"""Gives the bytes of a blob from their beginning, each time anew."""

_BINARY = {"Content-Type": "application/octet-stream"}
_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})", re.ASCII)
_CHUNK = 32 << 20
_LARGEST_CHUNK = 256 << 20
_BEGIN_ANEW = frozenset({"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "RANGE_INVALID"})
_IN_CHUNKS_PLEASE = frozenset({405, 411, 413, 501})


class _Refused(Exception):
    """The registry does not take a blob in one request."""


@dataclass
class Upload:
    """The upload of one blob to the repository `name`. `progress` is told how many bytes were sent so far."""

    registry: Registry
    name: str
    descriptor: Descriptor
    scopes: frozenset[str]
    open: Open
    progress: Callable[[int], None]
    location: str = field(default="", repr=False)
    _chunk: int = 0
    _in_chunks: bool = False

    async def run(self) -> None:
        """Upload the blob. Raises `errors.Error`: what the registry said, or why it cannot be reached."""
        attempts = self.registry.patience.attempts
        sent = 0
        broken = False
        for attempt in range(1, attempts + 1):
            try:
                if broken:
                    sent = await self._received()
                    broken = False
                if not self.location:
                    await self._begin()
                    sent = 0
                if sent or self._in_chunks:
                    await self._send_chunks(sent)
                else:
                    await self._send_whole()
                return
            except _Refused:
                self._in_chunks = True
                self.location = ""
            except Interrupted as error:
                if attempt == attempts or error.retry_after > self.registry.patience.longest_wait:
                    raise
                broken = bool(self.location)
                await self.registry.pause(attempt, error)
            except RegistryError as error:
                if attempt == attempts or error.code not in _BEGIN_ANEW:
                    raise
                self.location = ""
        raise Internal(f"{self.registry.endpoint.host} does not take blob {self.descriptor.digest}")

    async def _begin(self) -> None:
        url = self.registry.url(f"{self.name}/blobs/uploads/")
        async with await self.registry.call(
            "POST", url, scopes=self.scopes, accept=(202,), body=Body.of(b"")
        ) as answer:
            self._follow(answer)
            least = answer.headers.get("OCI-Chunk-Min-Length", "")
            if least.isdecimal() and least.isascii():
                self._chunk = int(least[:19])
                self._in_chunks = True

    async def _send_whole(self) -> None:
        """Send all in the request that ends the upload."""
        size = self.descriptor.size
        body = Body(size, partial(self._blocks, 0, size))
        await self._finish(body, refusals=_IN_CHUNKS_PLEASE)

    async def _send_chunks(self, sent: int) -> None:
        size = self.descriptor.size
        chunk = min(max(_CHUNK, self._chunk), _LARGEST_CHUNK)
        while sent < size:
            end = min(sent + chunk, size)
            headers = {**_BINARY, "Content-Range": f"{sent}-{end - 1}"}
            body = Body(end - sent, partial(self._blocks, sent, end))
            call = self.registry.call(
                "PATCH", self.location, scopes=self.scopes, headers=headers, body=body, accept=(202, 204), attempts=1
            )
            async with await call as answer:
                self._follow(answer)
            sent = end
        await self._finish(Body.of(b""))

    async def _finish(self, body: Body, refusals: frozenset[int] = frozenset()) -> None:
        """End the upload with its last bytes. Raises `_Refused` for a status of `refusals`."""
        separator = "&" if "?" in self.location else "?"
        url = f"{self.location}{separator}digest={self.descriptor.digest}"
        accept = {201, 204} | refusals
        call = self.registry.call("PUT", url, scopes=self.scopes, headers=_BINARY, body=body, accept=accept, attempts=1)
        async with await call as answer:
            if answer.status in refusals:
                raise _Refused
            check_stored(answer, Digest.parse(self.descriptor.digest), "blob")

    async def _received(self) -> int:
        """Return how many bytes the registry has of this upload; forget the upload if it does not know."""
        accept = range(200, 500)
        async with await self.registry.call(
            "GET", self.location, scopes=self.scopes, accept=accept, attempts=1
        ) as answer:
            if answer.status not in (202, 204):
                self.location = ""  # expired, lost or never written down
                return 0
            self._follow(answer, optional=True)
            match = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
        received = int(match[1]) + 1 if match is not None else 0
        if not 1 < received <= self.descriptor.size:  # 0-0 is what some say of nothing
            self.location = ""
            return 0
        return received

    def _follow(self, answer: aiohttp.ClientResponse, *, optional: bool = False) -> None:
        """Go on at the address that an answer names. One that forgets the encryption is reminded of it."""
        location = answer.headers.get("Location", "")
        if optional and not location:
            return
        endpoint = self.registry.endpoint
        target = resolve(str(answer.url), location)
        if endpoint.secure and target.startswith(f"http://{endpoint.host}/"):
            target = "https" + target.removeprefix("http")
        host = urlsplit(target).netloc
        if endpoint.secure and target.startswith("http:") and not self.registry.transport.is_insecure(host):
            raise InvalidArgument(f"{endpoint.host} wants uploads without encryption, at {public_url(target)}")
        self.location = target

    async def _blocks(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` to `end`."""
        position = 0
        async for block in self.open():
            position += len(block)
            before = position - len(block)
            if position <= start:
                continue
            piece = block[max(start - before, 0) : end - before]
            yield piece
            self.progress(min(position, end))
            if position >= end:
                return
