"""The log journal of a container: what its shim writes and `docker logs` reads.

A record is a header (16 bytes, big-endian: stream, three zero bytes, length of the payload, time in ns) and the payload
exactly as one read(2) of the container's pipe gave it. Lines are found by the reader: a record may hold many lines, a
line may run over many records of its stream. A file may end in the middle of a record while it is being written, or
for ever after a crash; what is whole counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["HEADER", "STDERR", "STDOUT", "Record", "pack_header", "records"]

HEADER = struct.Struct(">BxxxIQ")
STDOUT = 1
STDERR = 2


class Record(NamedTuple):
    """One record: the stream (1 stdout, 2 stderr), the time of the read in ns, the bytes."""

    stream: int
    time: int
    payload: memoryview


def pack_header(stream: int, time: int, length: int) -> bytes:
    """Return the header of a record of `length` bytes."""
    return HEADER.pack(stream, length, time)


def records(data: memoryview) -> Iterator[Record]:
    """Yield the whole records at the start of `data`; the caller keeps the rest (`consumed` = sum of their sizes)."""
    offset = 0
    while offset + HEADER.size <= len(data):
        stream, length, time = HEADER.unpack_from(data, offset)
        end = offset + HEADER.size + length
        if end > len(data):
            return
        yield Record(stream, time, data[offset + HEADER.size : end])
        offset = end
