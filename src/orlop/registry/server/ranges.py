"""Ranges of bytes: of a blob that is read (RFC 9110, 14.2) and of a chunk that is uploaded. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from orlop.registry.server.failure import Failure

__all__ = ["Chunk", "Span", "parse_chunk", "parse_range"]

_RANGE = re.compile(r"bytes=\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII | re.IGNORECASE)
_CHUNK = re.compile(r"(?:bytes[ =])?\s*(\d+)-(\d+)(?:/(?:\d+|\*))?", re.ASCII)
_MAX_DIGITS = 19


@dataclass(frozen=True, slots=True)
class Span:
    """`length` bytes from `start` on."""

    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """The chunk from byte `start` to byte `end`, inclusive."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start + 1


def parse_range(header: str, size: int) -> Span | None:
    """Return the part of `size` bytes that a Range header asks for, None for all of it.

    Several ranges, other units and what is malformed count as not given. Raises `Failure` (416) if nothing of the
    range is there.
    """
    match = _RANGE.fullmatch(header)
    if match is None or max(map(len, match.groups())) > _MAX_DIGITS or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size - 1
        satisfiable = int(last) > 0 and size > 0
    else:
        start, end = int(first), min(int(last) if last else size - 1, size - 1)
        satisfiable = start < size and (not last or int(last) >= start)
    if not satisfiable:
        raise Failure("RANGE_INVALID", "the range is not in the blob", headers={"Content-Range": f"bytes */{size}"})
    return Span(start, end - start + 1)


def parse_chunk(header: str) -> Chunk:
    """Return the chunk that a Content-Range header announces: ``0-99``, and as HTTP has it ``bytes 0-99/1000``.

    Raises `Failure`.
    """
    match = _CHUNK.fullmatch(header.strip())
    if match is None or max(map(len, match.groups())) > _MAX_DIGITS:
        raise Failure("RANGE_INVALID", status=400, detail={"Content-Range": header[:256]})
    chunk = Chunk(*map(int, match.groups()))
    if chunk.end < chunk.start:
        raise Failure("RANGE_INVALID", status=400, detail={"Content-Range": header[:256]})
    return chunk
