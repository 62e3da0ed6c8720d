"""What a step writes: two pipes, whose other ends its program has, read here as fast as they fill.

Nobody is between. So a step is never held up by whoever looks on, which is for the sink to see to; and what it wrote is
all here when both pipes have ended.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial

from orlop.build.worker import Sink
from orlop.formats.stream import STDERR, STDOUT
from orlop.linux import descriptors

__all__ = ["Output"]

_READ_SIZE = 64 << 10
_PATIENCE = 2.0  # seconds for somebody who still holds a pipe when the step has ended


class Output:
    """The output of one step. `fds` are for its launch; `begin` closes them here."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._reading: set[int] = set()
        self.fds = self._open(STDOUT), self._open(STDERR)

    def begin(self) -> None:
        """Leave the ends for writing to the program, which has been executed."""
        descriptors.close_all(self.fds)
        self.fds = -1, -1

    async def ended(self) -> None:
        """Wait until all has come that the step wrote."""
        await asyncio.wait([self._ended], timeout=_PATIENCE)

    def close(self) -> None:
        """Read no more. Nothing happens if that was done."""
        descriptors.close_all([fd for fd in self.fds if fd >= 0])
        self.fds = -1, -1
        for fd in list(self._reading):
            self._close(fd)

    def _open(self, stream: int) -> int:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reading, False)
        self._reading.add(reading)
        self._loop.add_reader(reading, partial(self._readable, reading, stream))
        return writing

    def _readable(self, fd: int, stream: int) -> None:
        try:
            data = os.read(fd, _READ_SIZE)
        except BlockingIOError:
            return
        if data:
            self._sink.output(stream, data)
        else:
            self._close(fd)

    def _close(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        self._reading.discard(fd)
        os.close(fd)
        if not self._reading and not self._ended.done():
            self._ended.set_result(None)
