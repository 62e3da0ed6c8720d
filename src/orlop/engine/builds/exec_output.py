"""What a step writes: from its shim over a socket pair to the sink of its job, as it comes.

The shim keeps no journal of it. It is read here as fast as it comes, so a step is never held up by whoever looks on:
that is for the sink to see to.
"""

from __future__ import annotations

import asyncio
import socket

from orlop.build.worker import Sink
from orlop.formats.identity import new_id
from orlop.formats.stream import Parser
from orlop.runtime.runtime import Attach

__all__ = ["Output"]

_READ_SIZE = 256 << 10


class Output:
    """The output of one step. `attach` is for its launch, which closes that end in any case."""

    def __init__(self, sink: Sink) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.attach = Attach(new_id()[:16], theirs.detach(), stdout=True, stderr=True)
        self._sink = sink
        self._socket = ours
        self._parser = Parser()
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(ours.fileno(), self._readable)

    async def ended(self) -> None:
        """Wait until the shim has said that nothing follows."""
        await asyncio.shield(self._ended)

    def close(self) -> None:
        """Read no more. Nothing happens if that was done."""
        if not self._ended.done():
            self._ended.set_result(None)
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except ConnectionResetError:  # the shim was killed
            data = b""
        for stream, piece in self._parser.feed(data):
            self._sink.output(stream, piece)
        if not data:
            self.close()
