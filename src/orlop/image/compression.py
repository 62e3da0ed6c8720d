"""Compressed streams: what they are told by, and reading them in bounded pieces.

A stream is a function that returns the next piece of any size and b"" at the end, as `formats.tar.reader` takes it.
All four formats may consist of several members one after the other (pigz, zstd's frames); zeros behind the last are
padding, anything else there is an error.
"""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from backports import zstd
from isal import igzip_lib

from orlop.errors import InvalidArgument

__all__ = ["MAGIC_LENGTH", "Compression", "Read", "decompressed", "detect", "peeked"]

Read = Callable[[], bytes | memoryview]

MAGIC_LENGTH = 6
_IsalError: type[Exception] = igzip_lib.error  # type: ignore[assignment] # its stub says it is an instance
_PIECE = 256 << 10
_XZ_MEMORY = 128 << 20
_ZSTD_WINDOW_LOG = 27  # 128 MiB, what every decoder must accept


class Compression(Enum):
    """How a stream is compressed; the value is the suffix of a layer's media type."""

    NONE = ""
    GZIP = "+gzip"
    BZIP2 = "+bzip2"
    XZ = "+xz"
    ZSTD = "+zstd"


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def detect(start: bytes) -> Compression:
    """Tell the compression by the first `MAGIC_LENGTH` bytes of a stream."""
    if start.startswith(b"\x1f\x8b\x08"):
        return Compression.GZIP
    if start.startswith(b"BZh"):
        return Compression.BZIP2
    if start.startswith(b"\xfd7zXZ\0"):
        return Compression.XZ
    # a frame, or a skippable frame (0x184D2A50 to 5F), as some archives begin with
    if start.startswith(b"\x28\xb5\x2f\xfd") or (start[1:4] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50):
        return Compression.ZSTD
    return Compression.NONE


def peeked(read: Read, count: int) -> tuple[bytes, Read]:
    """Return up to `count` first bytes of a stream, and a stream that still begins with them."""
    parts: list[bytes | memoryview] = []
    length = 0
    while length < count and (part := read()):
        parts.append(part)
        length += len(part)
    pending = parts[::-1]
    start = b"".join(parts)[:count]
    return start, lambda: pending.pop() if pending else read()


def decompressed(read: Read, compression: Compression) -> Read:
    """Return the plain stream of a compressed one. It raises `InvalidArgument` where that is damaged or cut off."""
    if compression is Compression.NONE:
        return read
    return _Stream(read, compression).read


class _Stream:
    def __init__(self, read: Read, compression: Compression) -> None:
        self._source = read
        self._compression = compression
        self._decompressor: _Decompressor | None = _decompressor(compression)
        self._rest = b""

    def read(self) -> bytes:
        while self._decompressor is not None:
            try:
                piece = self._step(self._decompressor)
            except (OSError, EOFError, ValueError, lzma.LZMAError, zstd.ZstdError, _IsalError) as error:
                raise InvalidArgument(f"damaged {self._compression.name.lower()} data: {error}") from error
            if piece:
                return piece
        return b""

    def _step(self, decompressor: _Decompressor) -> bytes:
        if decompressor.eof:
            self._next_member(decompressor.unused_data)
            return b""
        data = self._rest
        self._rest = b""
        if not data and decompressor.needs_input:
            data = bytes(self._source())
            if not data:
                raise InvalidArgument(f"unexpected end of {self._compression.name.lower()} data")
        return decompressor.decompress(data, _PIECE)

    def _next_member(self, rest: bytes) -> None:
        """Go on behind the end of a member: with the next one, or over the padding to the end."""
        rest = rest or bytes(self._source())
        while rest and not rest.strip(b"\0"):
            rest = bytes(self._source())
        if not rest:
            self._decompressor = None
            return
        start, source = peeked_with(rest, self._source)
        if detect(start) is not self._compression:
            raise InvalidArgument(f"garbage behind {self._compression.name.lower()} data")
        self._source = source
        self._decompressor = _decompressor(self._compression)


def peeked_with(rest: bytes, read: Read) -> tuple[bytes, Read]:
    """Return the first bytes of `rest` followed by the stream, and both as a stream."""
    pending: list[bytes] = [rest]
    return peeked(lambda: pending.pop() if pending else read(), MAGIC_LENGTH)


def _decompressor(compression: Compression) -> _Decompressor:
    if compression is Compression.GZIP:
        return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    if compression is Compression.BZIP2:
        return bz2.BZ2Decompressor()
    if compression is Compression.XZ:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})
