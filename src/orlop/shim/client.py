"""A client attached to a process's streams: one socket, Docker's frames or raw bytes.

A client that reads as fast as the process writes is *live*: each piece of output goes to its socket at once. One that
does not has *fallen behind*: it is served from the journal, from where it stopped, until it has caught up; so it costs
no memory and the container runs on. Without a journal its output is kept in memory, up to a bound (`SPOOL_BYTES`).
`Streams` decides what happens at the bounds. Replay of old output is the same thing: a client that has fallen behind
since the beginning.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from orlop.formats import journal
from orlop.formats.detach import Scanner
from orlop.formats.stream import pack_header
from orlop.shim.log import Cursor
from orlop.shim.loop import HANGUP, READ, WRITE, Loop

__all__ = ["SPOOL_BYTES", "STALLED_SECONDS", "AttachRequest", "Client"]

SPOOL_BYTES = 4 << 20
STALLED_SECONDS = 5.0  # a client that took no byte for so long while it was behind is not reading
_READ_SIZE = 64 << 10
_LINGER_SECONDS = 2.0


class AttachRequest:
    """What a client asked for (see `orlop.formats.shim_wire`, ``attach``)."""

    __slots__ = ("detach_keys", "fields", "framed", "id", "logs", "stderr", "stdin", "stdout", "stream", "tail")

    def __init__(self, fields: dict[str, Any], decode: Callable[[str], bytes]) -> None:
        """Take the fields of the message; `decode` turns base64 into bytes."""
        self.fields = fields
        self.id = str(fields["attach_id"])
        self.stdin = bool(fields.get("stdin"))
        self.stdout = bool(fields.get("stdout"))
        self.stderr = bool(fields.get("stderr"))
        self.logs = bool(fields.get("logs"))
        self.stream = bool(fields.get("stream", True))
        self.framed = bool(fields.get("framed", True))
        self.detach_keys = decode(fields.get("detach_keys") or "")
        self.tail = decode(fields.get("tail") or "")


class Client:
    """Serves one socket. It is *finished* when no more output will come, and *closed* when the socket is.

    `on_input(client, data)` gets what the client types, b"" at its end; it may call `pause`.
    `on_gone(client, detached)` is called once at the end, however it came.
    """

    def __init__(
        self,
        loop: Loop,
        fd: int,
        request: AttachRequest,
        *,
        tty: bool,
        on_input: Callable[[Client, bytes], None],
        on_gone: Callable[[Client, bool], None],
    ) -> None:
        os.set_blocking(fd, False)
        self.request = request
        self.progress_at = time.monotonic()
        self.spooled = 0
        self._loop = loop
        self._socket = socket.socket(fileno=fd)
        self._scanner = Scanner(request.detach_keys if tty else b"")
        self._on_input = on_input
        self._on_gone = on_gone
        self._pending: deque[memoryview] = deque()
        self._spool: deque[memoryview] = deque()
        self._cursor: Cursor | None = None
        self._input_open = True
        self._paused = False
        self._finished = False
        self._lingering = False
        self.closed = False
        loop.add(fd, READ, self._ready)

    @property
    def behind(self) -> bool:
        """Whether there is output that it has not taken yet."""
        return bool(self._pending or self._spool or self._cursor)

    @property
    def stalled(self) -> bool:
        """Whether it is behind and has taken nothing for a while."""
        return self.behind and time.monotonic() - self.progress_at > STALLED_SECONDS

    @property
    def cursor(self) -> Cursor | None:
        """Where in the journal it reads, if it does."""
        return self._cursor

    def start(self, replay: Cursor | None) -> None:
        """Begin: with what came behind the head of its request, and with the journal from `replay` on."""
        if self.request.tail and not self.closed:
            self._take(self.request.tail)
        if not self.closed and replay is not None:
            self._cursor = replay
            self._flush()

    def deliver(self, stream: int, data: bytes, fall_behind: Callable[[], Cursor] | None) -> None:
        """Send output. If it does not go, keep it, or take a cursor from `fall_behind` (behind this record)."""
        if self._cursor is not None or not self._wants(stream) or self._finished or self.closed:
            return
        pieces = [memoryview(data)] if not self.request.framed else _framed(stream, data)
        if self._spool or self._pending:
            self._keep(pieces)
            return
        self.progress_at = time.monotonic()
        self._pending.extend(pieces)
        self._write()
        if self._pending and not self.closed:
            if fall_behind is not None:
                self._cursor = fall_behind()
            self._watch()

    def finish(self) -> None:
        """No more output will come: close once everything has gone out."""
        if not self._finished:
            self._finished = True
            self._end_if_done()

    def pin(self) -> None:
        """Nothing more will be written to the journal, which may go away: keep open what is still to be read."""
        if self._cursor is not None:
            self._cursor.pin()

    def pause(self, paused: bool) -> None:
        """Stop or go on reading what the client types."""
        if paused != self._paused and not self.closed:
            self._paused = paused
            self._watch()

    def close(self, *, detached: bool = False) -> None:
        """Let go of the client at once."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove(self._socket.fileno())
        self._socket.close()
        self._drop_output()
        self._on_gone(self, detached)

    def _ready(self, events: int) -> None:
        if events & HANGUP and not events & READ:
            self.close()
            return
        if events & WRITE:
            self._flush()
        if events & READ and not self.closed:
            self._read(hung_up=bool(events & HANGUP))

    def _read(self, *, hung_up: bool) -> None:
        try:
            data = self._socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:  # reset: whoever it was is gone
            self.close()
            return
        if data:
            if not self._lingering:
                self._take(data)
            return
        self._end_input()
        if hung_up or self._lingering:
            self.close()

    def _take(self, data: bytes) -> None:
        if not self.request.stdin:
            return
        passed, detached = self._scanner.feed(data)
        if passed:
            self._on_input(self, passed)
        if detached:
            self.close(detached=True)

    def _end_input(self) -> None:
        """The client has closed its sending side, or all of it; it may still read."""
        if not self._input_open:
            return
        self._input_open = False
        self._watch()
        if self.request.stdin:
            held = self._scanner.flush()
            if held:
                self._on_input(self, held)
            self._on_input(self, b"")

    def _flush(self) -> None:
        """Send what there is, from wherever it comes, until the socket is full or nothing is left."""
        while not self.closed:
            self._write()
            if self.closed or self._pending:
                break
            if not self._refill():
                break
        if not self.closed:
            self._watch()
            self._end_if_done()

    def _write(self) -> None:
        """Send of the pending pieces what the socket takes."""
        while self._pending:
            pieces = [self._pending[index] for index in range(min(len(self._pending), 64))]
            try:
                sent = self._socket.sendmsg(pieces, (), socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except OSError:  # EPIPE, ECONNRESET
                self.close()
                return
            self.progress_at = time.monotonic()
            while self._pending and sent >= len(self._pending[0]):
                sent -= len(self._pending.popleft())
            if sent:
                self._pending[0] = self._pending[0][sent:]

    def _refill(self) -> bool:
        """Take the next output to send; False when it has caught up."""
        if self._spool:
            self._pending, self._spool, self.spooled = self._spool, deque(), 0
            return True
        while self._cursor is not None:
            block = self._cursor.read()
            if not block:
                self._cursor.close()
                self._cursor = None
                if not self.request.stream:
                    self._finished = True
                return False
            self._pending.extend(self._pieces(block))
            if self._pending:
                return True
        return False

    def _pieces(self, block: bytes) -> list[memoryview]:
        """Turn records of the journal into what this client is to get."""
        framed = self.request.framed
        if framed and self.request.stdout and self.request.stderr:
            return journal.frames(block)[0]
        view, pieces = memoryview(block), []
        for stream, _, start, end in journal.spans(block)[0]:
            if self._wants(stream):
                if framed:
                    pieces.append(memoryview(pack_header(stream, end - start)))
                pieces.append(view[start:end])
        return pieces

    def _wants(self, stream: int) -> bool:
        return self.request.stderr if stream == journal.STDERR else self.request.stdout

    def _keep(self, pieces: list[memoryview]) -> None:
        self._spool.extend(pieces)
        self.spooled += sum(len(piece) for piece in pieces)

    def _watch(self) -> None:
        wanted = WRITE if self.behind else 0
        if self._input_open and not self._paused:
            wanted |= READ
        self._loop.modify(self._socket.fileno(), wanted)

    def _end_if_done(self) -> None:
        """When all output has gone out: end our side, and wait a moment for the client to end its own.

        Closing while bytes of the client are unread would reset the connection and could cost it the last output.
        """
        if self.closed or self._lingering or not self._finished or self.behind:
            return
        if not self._input_open:
            self.close()
            return
        self._lingering = True
        self._paused = False
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:  # already gone
            self.close()
            return
        self._watch()
        self._loop.call_later(_LINGER_SECONDS, self.close)

    def _drop_output(self) -> None:
        self._pending.clear()
        self._spool.clear()
        self.spooled = 0
        if self._cursor is not None:
            self._cursor.close()
            self._cursor = None


def _framed(stream: int, data: bytes) -> list[memoryview]:
    return [memoryview(pack_header(stream, len(data))), memoryview(data)]
