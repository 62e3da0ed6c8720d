"""The contexts that clients send: their files by digest, so that a file which is here already is not sent again.

A context is announced as a list of what is in it, by whose digest it is known from then on; the files that are missing
follow. Nobody's connection keeps it: for an hour after it was last used it is held, then it may be collected.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from orlop.build.files.manifest import Manifest
from orlop.build.files.store import ContextStore, Lease, Taken
from orlop.build.files.writers import Writers
from orlop.engine.images.upload import Upload
from orlop.errors import InvalidArgument, NotFound
from orlop.formats.digest import Digest
from orlop.image.compression import Read
from orlop.image.scratch import Scratch

__all__ = ["Contexts"]

T = TypeVar("T")

HELD_SECONDS = 3600.0
_SMALL = 1 << 20  # bytes of a file that waits in memory
MAX_MANIFEST = 512 << 20
_MAX_HEAD = 1024


class Contexts:
    """The contexts of one engine, on an event loop. `store` has their files."""

    def __init__(self, path: Path, scratch: Scratch) -> None:
        self.store = ContextStore(path, scratch)
        self._known: dict[str, _Known] = {}

    async def take_tar(self, body: AsyncIterator[bytes]) -> Taken:
        """Return the context that a tar of any compression holds. Raises `InvalidArgument`."""
        return await received(body, self.store.take_tar)

    async def announce(self, body: AsyncIterator[bytes]) -> tuple[str, list[str]]:
        """Take a manifest; return its id and the digests of the files that are missing. Raises `InvalidArgument`."""
        data = bytearray()
        async for block in body:
            data += block
            if len(data) > MAX_MANIFEST:
                raise InvalidArgument(f"the list of a context's files is larger than {MAX_MANIFEST} bytes")
        manifest = await asyncio.to_thread(Manifest.decode, bytes(data))
        id = await asyncio.to_thread(lambda: manifest.id)
        self._hold(id, manifest)
        return id, await asyncio.to_thread(self.store.missing, manifest)

    async def unpack(self, body: AsyncIterator[bytes]) -> str:
        """Take a context as a tar of any compression; return its id. Raises `InvalidArgument`."""
        with self.store.growing():
            manifest = (await self.take_tar(body)).manifest
            id = await asyncio.to_thread(lambda: manifest.id)
            self._hold(id, manifest)
        return id

    def get(self, id: str) -> Manifest:
        """Return a context by its id, to be used for another hour. Raises `NotFound`."""
        known = self._known.get(id)
        if known is None:
            raise NotFound(f"No such build context: {id}")
        self._hold(id, known.manifest)
        return known.manifest

    def knows(self, id: str) -> bool:
        """Tell whether there is a context of this id."""
        return id in self._known

    async def receive(self, id: str, body: AsyncIterator[bytes]) -> None:
        """Take files: each a line of JSON with ``digest`` and ``size``, and so many bytes. What was taken when an error
        ends this stays. Raises `NotFound` and `InvalidArgument`."""
        self.get(id)
        await received(body, self._take_files)

    def close(self) -> None:
        """Forget all contexts; their files stay for the next start."""
        for id in list(self._known):
            self._forget(id)

    def _hold(self, id: str, manifest: Manifest) -> None:
        known = self._known.get(id)
        if known is None:
            known = self._known[id] = _Known(manifest, self.store.hold(manifest))
        elif known.expiry is not None:
            known.expiry.cancel()
        known.expiry = asyncio.get_running_loop().call_later(HELD_SECONDS, self._forget, id)

    def _forget(self, id: str) -> None:
        known = self._known.pop(id)
        if known.expiry is not None:
            known.expiry.cancel()
        known.lease.release()

    def _take_files(self, read: Read) -> int:
        """Take what `read` brings; return how many bytes of it are files."""
        stream, total = _Framed(read), 0
        writers: Writers[tuple[str, bytes]] = Writers(lambda small: self.store.put_small(*small))
        try:
            while (head := stream.line()) is not None:
                digest, size = _file_head(head)
                if size > _SMALL:
                    self.store.put(digest, size, stream.part(size))
                else:
                    writers.add((str(digest), _whole(stream.part(size), size)))
                total += size
            writers.settle()
        finally:
            writers.close()
        return total


def _whole(read: Read, size: int) -> bytes:
    """Return a file that was sent. Raises `InvalidArgument` if it breaks off."""
    parts: list[bytes | memoryview] = []
    while part := read():
        parts.append(part)
    data = b"".join(parts)
    if len(data) != size:
        raise InvalidArgument("a file of the context has changed while it was sent: it breaks off")
    return data


@dataclass(slots=True)
class _Known:
    manifest: Manifest
    lease: Lease
    expiry: asyncio.TimerHandle | None = None


class _Framed:
    """Lines and counted parts out of a stream of blocks."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._block = memoryview(b"")  # what is left of the last one

    def line(self) -> bytes | None:
        """Return the next line without its end, None at the end of the stream. Raises `InvalidArgument`."""
        line = b""
        while len(line) <= _MAX_HEAD:
            if not self._block and not self._next():
                if line:
                    raise InvalidArgument("the files of the context break off")
                return None
            start = bytes(self._block[:_MAX_HEAD])
            found, end, _ = start.partition(b"\n")
            line += found
            self._block = self._block[len(found) + len(end) :]
            if end:
                return line
        raise InvalidArgument("invalid head of a context's file: too long")

    def part(self, size: int) -> Read:
        """Return a function that reads the next `size` bytes."""
        left = size

        def read() -> memoryview:
            nonlocal left
            if left and not self._block:
                self._next()
            taken, self._block = self._block[:left], self._block[left:]
            left -= len(taken)
            return taken

        return read

    def _next(self) -> bool:
        self._block = memoryview(self._read())
        return bool(self._block)


async def received(body: AsyncIterator[bytes], work: Callable[[Read], T]) -> T:
    """Do `work` in a thread on what arrives; return what it returns."""
    upload = Upload(body, lambda read, report: work(read))
    async with aclosing(upload.progress()) as progress:
        async for _ in progress:
            pass
    assert upload.result is not None
    return upload.result


def _file_head(line: bytes) -> tuple[str, int]:
    try:
        head = json.loads(line)
        digest, size = str(Digest.parse(head["digest"])), head["size"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidArgument("invalid head of a context's file") from None
    if type(size) is not int or size < 0:
        raise InvalidArgument("invalid size of a context's file")
    return digest, size
