"""The standard streams of one process: its pipes or terminal on one side, the journal and clients on the other.

Output is read in large pieces; each goes into the journal as one record and to every attached client. A client never
stops the container for good, and never grows the shim:

- one that falls behind is served from the journal (`orlop.shim.client`), while the container runs on;
- when the next rotation would remove what it still needs (or, without a journal, its few MiB of memory are full),
  output waits for it, as a pipe's writer waits for its reader, *as long as it goes on reading*: so that
  ``docker run … tar c | slow-upload`` loses nothing however much comes;
- one that has taken no byte for `STALLED_SECONDS` when that happens is dropped, and the container goes on.

Input comes from any number of clients; while the process does not read it, the clients are not read either.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial

from orlop.formats.journal import STDERR, STDOUT
from orlop.linux import pty
from orlop.shim.client import SPOOL_BYTES, AttachRequest, Client
from orlop.shim.log import Journal
from orlop.shim.loop import HANGUP, READ, WRITE, Loop, Timer

__all__ = ["STDERR", "STDOUT", "Streams"]

_READ_SIZE = 64 << 10
_CHECK_SECONDS = 0.25


class Streams:
    """One process's streams.

    `on_detached(attach_id)` is called when a client used its detach keys, `on_idle` when the last client is gone.
    """

    def __init__(
        self,
        loop: Loop,
        *,
        tty: bool,
        stdin_once: bool,
        log: Journal | None,
        on_detached: Callable[[str], None],
        on_idle: Callable[[], None],
    ) -> None:
        self._loop = loop
        self.tty = tty
        self._stdin_once = stdin_once
        self._log = log
        self._on_detached = on_detached
        self._on_idle = on_idle
        self._outputs: dict[int, int] = {}  # descriptor: stream
        self._stdin = -1
        self._stdin_pending = b""
        self._stdin_ending = False
        self._master = -1
        self._clients: list[Client] = []
        self._early: list[tuple[int, AttachRequest]] | None = []  # clients that came before the streams were open
        self._waiting: Timer | None = None  # output is not read while this is set
        self._ended = False
        self._when_drained: Callable[[], None] | None = None
        self._drain_timer: Timer | None = None

    def open_pipes(self, stdin: int | None, stdout: int, stderr: int) -> None:
        """Take our ends of the pipes."""
        for fd, stream in ((stdout, STDOUT), (stderr, STDERR)):
            self._add_output(fd, stream)
        if stdin is not None:
            self._stdin = stdin
            os.set_blocking(stdin, False)
        self._admit()

    def open_terminal(self, master: int, *, stdin: bool) -> None:
        """Take the terminal's master."""
        self._master = master
        if stdin:
            self._stdin = master
        self._add_output(master, STDOUT)
        self._admit()

    def resize(self, height: int, width: int) -> None:
        """Set the size of the terminal. Raises `OSError` (ENOTTY if there is none)."""
        if self._master < 0:
            raise OSError(errno.ENOTTY, "not a terminal")
        pty.set_size(self._master, height, width)

    def attach(self, fd: int, request: AttachRequest) -> None:
        """Join a client, whose socket is ours from now on; as soon as there are streams to join."""
        if self._early is not None:
            self._early.append((fd, request))
            return
        client = Client(self._loop, fd, request, tty=self.tty, on_input=self._from_client, on_gone=self._client_gone)
        self._clients.append(client)
        replay = self._log.cursor_at_start() if request.logs and self._log is not None else None
        client.start(replay)
        if self._ended or (not request.stream and replay is None):
            client.finish()

    def end(self, drained: Callable[[], None], seconds: float) -> None:
        """The process has ended: read what is left of its output, then call `drained`, within `seconds`.

        A grandchild that holds the pipe open cannot delay that further.
        """
        self._when_drained = drained
        self._admit()
        self._close_stdin()
        if not self._outputs:
            self._drained()
            return
        self._drain_timer = self._loop.call_later(seconds, self._drained)

    def end_now(self) -> None:
        """Don't wait for more output."""
        self._drained()

    def say(self, text: str) -> None:
        """Tell the clients something on standard output that the process has not written."""
        self._admit()
        for client in self._clients[:]:
            client.deliver(STDOUT, text.encode(), None)

    @property
    def busy(self) -> bool:
        """Whether clients are still to be served after the end."""
        return bool(self._clients or self._early)

    def _admit(self) -> None:
        early, self._early = self._early or (), None
        for fd, request in early:
            self.attach(fd, request)

    def _add_output(self, fd: int, stream: int) -> None:
        os.set_blocking(fd, False)
        self._outputs[fd] = stream
        if self._waiting is None:
            self._loop.add(fd, READ, partial(self._output_ready, fd))

    def _remove_output(self, fd: int) -> None:
        del self._outputs[fd]
        if fd == self._stdin:
            self._forget_stdin()
        self._loop.remove(fd)
        os.close(fd)
        if fd == self._master:
            self._master = -1

    def _output_ready(self, fd: int, events: int) -> None:
        if events & WRITE:
            self._flush_stdin()
        if not events & (READ | HANGUP) or fd not in self._outputs:
            return
        if self._must_wait():
            return
        stream = self._outputs[fd]
        try:
            data = os.read(fd, _READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: no one has the terminal open any more
                raise
            data = b""
        if not data:
            self._remove_output(fd)
            if not self._outputs and self._when_drained is not None:
                self._drained()
            return
        self._spread(stream, data)

    def _spread(self, stream: int, data: bytes) -> None:
        logged = self._log is not None and self._log.write(stream, data)
        fall_behind = self._log.cursor_at_end if self._log is not None and logged else None
        for client in self._clients[:]:
            client.deliver(stream, data, fall_behind)

    def _must_wait(self) -> bool:
        """Decide about the clients that would lose output if more was read now: wait for them, or drop them."""
        losing = [client for client in self._clients if self._would_lose(client)]
        for client in losing[:]:
            if client.stalled:
                client.close()
                losing.remove(client)
        if losing and self._waiting is None:
            for fd in self._outputs:
                self._loop.remove(fd)
            self._waiting = self._loop.call_later(_CHECK_SECONDS, self._look_again)
        return bool(losing)

    def _would_lose(self, client: Client) -> bool:
        if client.cursor is not None and self._log is not None:
            return self._log.rotates_away(client.cursor, _READ_SIZE)
        return client.spooled > SPOOL_BYTES

    def _look_again(self) -> None:
        self._waiting = None
        if self._must_wait():
            return
        for fd, stream in list(self._outputs.items()):
            self._add_output(fd, stream)
        self._watch_stdin()

    def _from_client(self, client: Client, data: bytes) -> None:
        if self._stdin < 0:
            return
        if data:
            self._stdin_pending += data
            self._flush_stdin()
        elif self._stdin_once and not self.tty:
            self._stdin_ending = True
            self._flush_stdin()

    def _flush_stdin(self) -> None:
        while self._stdin_pending and self._stdin >= 0:
            try:
                written = os.write(self._stdin, self._stdin_pending)
            except BlockingIOError:
                break
            except OSError:  # EPIPE, EIO: the process has closed it
                self._close_stdin()
                break
            self._stdin_pending = self._stdin_pending[written:]
        if self._stdin_ending and not self._stdin_pending:
            self._close_stdin()
        self._watch_stdin()

    def _watch_stdin(self) -> None:
        """Wait for the process to read when it has to; meanwhile the clients' input stays where it is."""
        blocked = bool(self._stdin_pending) and self._stdin >= 0
        if self._stdin >= 0:
            if self._stdin == self._master:
                if self._loop.watches(self._master):
                    self._loop.modify(self._master, READ | WRITE if blocked else READ)
            elif blocked and not self._loop.watches(self._stdin):
                self._loop.add(self._stdin, WRITE, lambda _: self._flush_stdin())
            elif not blocked:
                self._loop.remove(self._stdin)
        for client in self._clients:
            client.pause(blocked)

    def _close_stdin(self) -> None:
        if self._stdin >= 0 and self._stdin != self._master:
            self._loop.remove(self._stdin)
            os.close(self._stdin)
        self._forget_stdin()

    def _forget_stdin(self) -> None:
        self._stdin = -1
        self._stdin_pending = b""
        self._stdin_ending = False

    def _client_gone(self, client: Client, detached: bool) -> None:
        self._clients.remove(client)
        if detached:
            self._on_detached(client.request.id)
        elif client.request.stdin:
            self._from_client(client, b"")
        if not self._clients:
            self._on_idle()

    def _drained(self) -> None:
        """All output there will be has been read."""
        callback, self._when_drained = self._when_drained, None
        if callback is None:
            return
        self._ended = True
        if self._drain_timer is not None:
            self._drain_timer.cancel()
        if self._waiting is not None:
            self._waiting.cancel()
        for fd in list(self._outputs):
            self._remove_output(fd)
        for client in self._clients:
            client.pin()
        callback()  # first, so that who sees the end of the stream finds the exit status known
        for client in self._clients[:]:
            client.finish()
