"""A source of blobs in memory, which breaks, lies and waits as a test tells it to."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from orlop.errors import NotFound, Unavailable
from orlop.model.oci.documents import Descriptor, Manifest, parse
from support import archives
from support.archives import Image, digest

__all__ = ["BlobSource", "Packed", "packed"]


@dataclass
class _Stream:
    offset: int
    blocks: AsyncIterator[bytes]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.blocks


@dataclass
class BlobSource:
    """Gives `blobs` by their digests; `asked` notes what was opened, with the offset."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes after which one stream after the other breaks off
    block: int = 1000
    gates: dict[str, asyncio.Event] = field(default_factory=dict)  # a stream stops half-way until its gate opens
    asked: list[tuple[str, int]] = field(default_factory=list)
    waiting: set[str] = field(default_factory=set)  # what has come to its gate
    open_streams: int = 0
    most_streams: int = 0

    @asynccontextmanager
    async def open_blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncIterator[_Stream]:
        self.asked.append((descriptor.digest, offset))
        if descriptor.digest not in self.blobs:
            raise NotFound("blob unknown")
        self.open_streams += 1
        self.most_streams = max(self.most_streams, self.open_streams)
        try:
            yield _Stream(offset if self.ranges else 0, self._blocks(descriptor, offset if self.ranges else 0))
        finally:
            self.open_streams -= 1

    async def _blocks(self, descriptor: Descriptor, offset: int) -> AsyncIterator[bytes]:
        data = self.blobs[descriptor.digest]
        cut = self.cuts.pop(0) if self.cuts and descriptor.media_type.startswith(archives.LAYER) else len(data)
        sent = 0
        for start in range(offset, len(data), self.block):
            if start >= len(data) // 2 and descriptor.digest in self.gates:
                self.waiting.add(descriptor.digest)
                await self.gates[descriptor.digest].wait()
            block = data[start : start + self.block][: cut - sent]
            sent += len(block)
            await asyncio.sleep(0)
            yield block
            if sent == cut < len(data) - offset:
                raise Unavailable("connection reset by peer")

    def offsets(self, blob: bytes) -> list[int]:
        """Return where a blob was opened."""
        return [offset for name, offset in self.asked if name == digest(blob)]


@dataclass
class Packed:
    """An image as a registry has it."""

    image: Image
    blobs: list[bytes]  # compressed, bottom first
    data: bytes  # of the manifest

    @property
    def manifest(self) -> Manifest:
        document = parse(self.data)
        assert isinstance(document, Manifest)
        return document

    @property
    def contents(self) -> dict[str, bytes]:
        return {digest(data): data for data in [*self.blobs, self.image.document]}


def packed(*layers: bytes, config: dict[str, Any] | None = None, sizes: dict[int, int] | None = None) -> Packed:
    """Return an image of plain `layers`, gzipped; `sizes` are lies about the sizes of some."""
    image = Image(list(layers), config=config or {})
    blobs = [gzip.compress(layer, 1, mtime=0) for layer in layers]
    document = json.loads(archives.manifest(image, [(blob, "+gzip") for blob in blobs]))
    for index, size in (sizes or {}).items():
        document["layers"][index]["size"] = size
    return Packed(image, blobs, json.dumps(document).encode())
