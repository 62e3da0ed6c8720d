"""Bytes from a thread to the event loop: order, bounded memory, errors, and readers that go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import aclosing

import pytest

from orlop.image.outlet import flow

Write = Callable[[bytes], None]


async def test_all_that_was_written_comes_in_its_order() -> None:
    def work(write: Write) -> None:
        for number in range(1000):
            write(b"%d " % number)

    text = b"".join([block async for block in flow(work, "test")])
    assert text.split() == [b"%d" % number for number in range(1000)]


async def test_a_slow_reader_holds_up_the_thread() -> None:
    written = 0

    def work(write: Write) -> None:
        nonlocal written
        for _ in range(64):
            write(bytes(1 << 20))
            written += 1

    blocks = flow(work, "test")
    async with aclosing(blocks):
        assert len(await anext(blocks)) == 1 << 20
        await asyncio.sleep(0.1)
        assert written < 8
        assert len([block async for block in blocks]) == 63


async def test_an_error_comes_after_what_was_written_before_it() -> None:
    def work(write: Write) -> None:
        write(b"first")
        raise ValueError("then this")

    blocks = flow(work, "test")
    assert await anext(blocks) == b"first"
    with pytest.raises(ValueError, match="then this"):
        await anext(blocks)


async def test_a_reader_that_goes_ends_the_thread_before_it_is_gone() -> None:
    ended = threading.Event()

    def work(write: Write) -> None:
        try:
            while True:
                write(bytes(1 << 20))
        finally:
            ended.set()

    blocks = flow(work, "test")
    await anext(blocks)
    await blocks.aclose()
    assert ended.is_set()


async def test_a_cancelled_reader_ends_the_thread_too() -> None:
    ended = threading.Event()

    def work(write: Write) -> None:
        try:
            while True:
                write(bytes(1 << 20))
        finally:
            ended.set()

    async def read() -> None:
        blocks = flow(work, "test")
        async with aclosing(blocks):
            async for _ in blocks:
                await asyncio.sleep(0.01)

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.05)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    assert ended.is_set()


async def test_many_slow_readers_leave_the_shared_threads_free() -> None:
    """Each has a thread of its own: what the rest of the engine does in threads goes on."""

    def work(write: Write) -> None:
        for _ in range(32):
            write(bytes(1 << 20))

    streams = [flow(work, "test") for _ in range(40)]
    for stream in streams:
        await anext(stream)
    async with asyncio.timeout(20):
        assert await asyncio.to_thread(lambda: 42) == 42
    for stream in streams:
        await stream.aclose()
