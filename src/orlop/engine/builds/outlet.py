"""The records of a build on their way to whoever looks on: a build never waits for that.

What commands write is bounded by what waits to be read; the rest is left out, and that is said. Other records are few.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

from orlop.build.progress import Ended, Output, Progress
from orlop.formats.stream import STDERR

__all__ = ["Outlet"]

WAITING = 16 << 20
"""Bytes of output that wait for one reader."""


class Outlet:
    """A queue of records; `report` is the build's end, `records` the reader's."""

    def __init__(self) -> None:
        self._records: deque[Progress] = deque()
        self._size = 0
        self._left_out: dict[str, int] = {}  # bytes of output by vertex
        self._news = asyncio.Event()

    def report(self, record: Progress) -> None:
        """Take a record."""
        if isinstance(record, Output):
            if self._size + len(record.data) > WAITING:
                self._left_out[record.vertex] = self._left_out.get(record.vertex, 0) + len(record.data)
                return
            self._say_left_out(record.vertex)
            self._size += len(record.data)
        elif isinstance(record, Ended):
            self._say_left_out(record.vertex)
        self._records.append(record)
        self._news.set()

    async def records(self, done: Awaitable[Any]) -> AsyncGenerator[Progress, None]:
        """Yield what comes until `done` is, and all of it then."""
        ending = asyncio.ensure_future(done)
        ending.add_done_callback(lambda _: self._news.set())
        while not ending.done() or self._records:
            if not self._records:
                self._news.clear()
                await self._news.wait()
                continue
            record = self._records.popleft()
            if isinstance(record, Output):
                self._size -= len(record.data)
            yield record

    def _say_left_out(self, vertex: str) -> None:
        count = self._left_out.pop(vertex, 0)
        if count:
            text = f"\n[{count} bytes of output were left out here: they were read too slowly]\n"
            self._records.append(Output(vertex=vertex, time=time.time_ns(), stream=STDERR, data=text.encode()))
