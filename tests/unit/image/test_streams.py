"""Streams on their way in: compression, stages, the pipe from the event loop."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import lzma
import threading
from collections.abc import AsyncIterator, Callable

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.image.compression import Compression, Read, decompressed, detect, peeked
from orlop.image.pipe import Pipe
from orlop.image.stages import Stage, ahead

PACKERS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.NONE: lambda data: data,
    Compression.GZIP: gzip.compress,
    Compression.BZIP2: bz2.compress,
    Compression.XZ: lzma.compress,
    Compression.ZSTD: zstd.compress,
}
SKIPPABLE = b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip"


def source(data: bytes, piece: int) -> Callable[[], bytes]:
    stream = io.BytesIO(data)
    return lambda: stream.read(piece)


def drained(read: Callable[[], bytes | memoryview]) -> bytes:
    parts = []
    while part := read():
        parts.append(bytes(part))
    return b"".join(parts)


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=4), st.sampled_from(list(PACKERS)), st.integers(1, 5000))
def test_every_compression_reads_back_in_any_pieces_and_members(
    members: list[bytes], compression: Compression, piece: int
) -> None:
    packed = b"".join(map(PACKERS[compression], members))
    padding = b"" if compression is Compression.NONE else bytes(700)
    assert drained(decompressed(source(packed + padding, piece), compression)) == b"".join(members)
    if compression is not Compression.NONE:
        assert detect(packed[:6]) is compression


def test_a_zstd_stream_may_begin_with_a_skippable_frame() -> None:
    data = SKIPPABLE + zstd.compress(b"content")
    assert detect(data[:6]) is Compression.ZSTD
    assert drained(decompressed(source(data, 3), Compression.ZSTD)) == b"content"


@given(st.sampled_from(list(PACKERS)[1:]), st.data())
def test_damage_is_an_error_or_harmless_and_never_anything_else(compression: Compression, data: st.DataObject) -> None:
    packed = bytearray(PACKERS[compression](b"content" * 100))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        drained(decompressed(source(bytes(packed), 50), compression))
    except InvalidArgument:
        pass


@pytest.mark.parametrize("compression", list(PACKERS)[1:])
def test_a_stream_that_is_cut_off_is_an_error(compression: Compression) -> None:
    packed = PACKERS[compression](bytes(range(256)) * 40)
    with pytest.raises(InvalidArgument, match="unexpected end"):
        drained(decompressed(source(packed[:-5], 64), compression))


def test_a_bomb_comes_in_pieces() -> None:
    packed = gzip.compress(bytes(50 << 20))
    read = decompressed(source(packed, len(packed)), Compression.GZIP)
    assert len(read()) <= 1 << 20


@given(st.binary(max_size=50), st.integers(1, 20), st.integers(0, 60))
def test_looking_ahead_takes_nothing_away(data: bytes, piece: int, count: int) -> None:
    start, read = peeked(source(data, piece), count)
    assert start == data[:count]
    assert drained(read) == data


def test_a_stage_works_beside_its_producer_and_gives_its_result() -> None:
    stage = Stage("test", lambda read: drained(read), depth=2)
    for number in range(100):
        stage.put(bytes([number]))
    assert stage.result() == bytes(range(100))


@pytest.mark.parametrize("depth", [1, 2])
def test_one_block_is_worked_on_by_whoever_asks_for_the_result(depth: int) -> None:
    workers: list[str] = []

    def work(read: Read) -> bytes:
        workers.append(threading.current_thread().name)
        return drained(read)

    stage = Stage("test", work, depth=depth)
    stage.put(b"block")
    stage.finish()
    stage.abandon()
    assert stage.result() == b"block"
    assert workers == (["test"] if depth == 1 else ["MainThread"])


def test_a_stage_that_fails_swallows_the_rest_and_raises_at_the_end() -> None:
    def fail(_: object) -> None:
        raise InvalidArgument("no")

    stage = Stage("test", fail, depth=1)
    for _ in range(50):
        stage.put(b"x")
    with pytest.raises(InvalidArgument):
        stage.result()


def test_a_stream_is_read_ahead_and_loses_nothing() -> None:
    with ahead(source(bytes(range(256)) * 100, 1000), "test") as read:
        assert drained(read) == bytes(range(256)) * 100
        assert read() == b""


def test_what_reading_ahead_raises_comes_behind_what_it_read() -> None:
    pieces = [b"one", b"two"]

    def broken() -> bytes:
        if not pieces:
            raise InvalidArgument("no")
        return pieces.pop(0)

    with ahead(broken, "test") as read:
        assert [read(), read()] == [b"one", b"two"]
        with pytest.raises(InvalidArgument):
            read()


def test_reading_ahead_ends_with_its_block_and_goes_no_further() -> None:
    count = 0

    def endless() -> bytes:
        nonlocal count
        count += 1
        return b"x"

    with ahead(endless, "read-ahead-test", depth=2) as read:
        assert read() == b"x"
    assert count <= 5
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead-test"]


async def test_a_pipe_holds_its_sender_back_and_loses_nothing() -> None:
    pieces = [bytes([number % 256]) * 100_000 for number in range(150)]
    sent = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal sent
        for piece in pieces:
            sent += len(piece)
            yield piece

    pipe = Pipe()
    filling = asyncio.create_task(pipe.fill(stream()))
    for _ in range(200):
        await asyncio.sleep(0)
    assert sent < 6_000_000
    assert await asyncio.to_thread(drained, pipe.read) == b"".join(pieces)
    await filling


async def test_a_pipe_that_is_given_up_wakes_its_reader() -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    pipe = Pipe()
    filling = asyncio.create_task(pipe.fill(stream()))
    started = threading.Event()

    def read() -> bytes:
        started.set()
        return drained(pipe.read)

    reading = asyncio.create_task(asyncio.to_thread(read))
    await asyncio.to_thread(started.wait)
    filling.cancel()
    with pytest.raises(InvalidArgument, match="broken off"):
        await reading
