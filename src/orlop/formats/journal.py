"""The log journal of a container: what its shim writes and `docker logs` reads.

A record is a header (16 bytes, big-endian: stream, three zero bytes, length of the payload, time in ns) and the payload
exactly as one read(2) of the container's pipe gave it. Lines are found by the reader: a record may hold many lines, a
line may run over many records of its stream. A file may end in the middle of a record while it is being written, or
for ever after a crash; what is whole counts.

The newest file is ``journal``; rotation renames it to ``journal.1``, that to ``journal.2`` and so on. The first eight
bytes of a header are the header of the Docker stream frame that carries the same payload, so that a reader frames
records by leaving the times out (`frames`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

__all__ = [
    "HEADER",
    "MAX_PAYLOAD",
    "STDERR",
    "STDOUT",
    "DamagedJournal",
    "Record",
    "Span",
    "file_name",
    "frames",
    "pack_header",
    "record_size",
    "records",
    "spans",
]

HEADER = struct.Struct(">BxxxIQ")
STDOUT = 1
STDERR = 2
MAX_PAYLOAD = 16 << 20  # a reader takes a longer record for damage
_HEAD = struct.Struct(">II")  # stream and zeros as one word, length: a Docker stream frame's header
_FIELDS = struct.Struct(">IIQ")
_STREAM_WORDS = {STDOUT << 24: STDOUT, STDERR << 24: STDERR}

Span = tuple[int, int, int, int]
"""A record in a block: stream, time, and where its payload starts and ends."""


class DamagedJournal(Exception):
    """What stands where a record should start is none."""


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


def file_name(rotation: int) -> str:
    """Return the name of the file that was rotated `rotation` times: 0 is the one being written."""
    return f"journal.{rotation}" if rotation else "journal"


def record_size(data: bytes) -> int:
    """Return the size of the record at the start of `data`, its header included; 0 if the header is not whole.

    Raises `DamagedJournal` if it cannot be a record. `spans` and `frames` stop in front of such a one.
    """
    if len(data) < HEADER.size:
        return 0
    word, length = _HEAD.unpack_from(data)
    if word not in _STREAM_WORDS or length > MAX_PAYLOAD:
        raise DamagedJournal(f"no record starts with {data[: HEADER.size].hex()}")
    return HEADER.size + int(length)


def spans(data: bytes) -> tuple[list[Span], int]:
    """Return where the whole records at the start of `data` are, and how many bytes they take."""
    found: list[Span] = []
    position, last = 0, len(data) - HEADER.size
    unpack, streams, append = _FIELDS.unpack_from, _STREAM_WORDS, found.append
    while position <= last:
        word, length, time = unpack(data, position)
        end = position + 16 + length
        if end > len(data) or word not in streams or length > MAX_PAYLOAD:
            break
        append((streams[word], time, position + 16, end))
        position = end
    return found, position


def frames(data: bytes) -> tuple[list[memoryview], int]:
    """Return the whole records at the start of `data` as Docker stream frames, and how many bytes they take.

    The frames are the joined pieces; a piece is a view of `data`.
    """
    pieces: list[memoryview] = []
    view, position, start, last = memoryview(data), 0, 0, len(data) - HEADER.size
    unpack, streams, append = _HEAD.unpack_from, _STREAM_WORDS, pieces.append
    while position <= last:
        word, length = unpack(data, position)
        end = position + 16 + length
        if end > len(data) or word not in streams or length > MAX_PAYLOAD:
            break
        append(view[start : position + 8])  # the payload before, this header without its time
        start = position + 16
        position = end
    if start:
        append(view[start:position])
    return pieces, position
