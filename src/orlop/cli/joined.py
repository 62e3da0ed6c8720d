"""A terminal joined with a container's process: one loop moves input, output, signals, sizes and the exit status.

Used by run, start, attach and exec. Nothing in the loop waits for one side while another could go on: input is sent
only as far as the connection takes it, so that a container that waits for its output to be read is never waited for.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from orlop.cli.failure import CommandError, daemon_message
from orlop.cli.signals import TERMINATING, SignalRelay, signal_name
from orlop.cli.terminal import RawMode
from orlop.client.hijack import Hijacked
from orlop.client.transport import CannotConnect, Response
from orlop.errors import Error
from orlop.formats.detach import DEFAULT, DetachKeyError, Scanner, parse_keys
from orlop.formats.stream import STDERR, FrameError, Parser

__all__ = ["DETACHED", "Joined", "patiently", "write_all"]

DETACHED = "read escape sequence"
_CHUNK = 1 << 16
_RESIZE_TRIES = 10
_PATIENCE = 15.0  # seconds that a daemon may take to restart

T = TypeVar("T")


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, waiting as long as it takes (a terminal may be non-blocking by another's doing)."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])


class Joined:
    """The loop's state. After `run`, `detached` says whether the user left, and `wait_status` how the container ended.

    `wait` opens a request for the exit status and is called at once; called again (with True) it asks once more, for a
    container that may have ended meanwhile: a daemon that restarts drops the request and not the terminal. `on_signal`
    gets the name of each signal to pass on; without it HUP ends the client, and without `wait` INT and TERM do, too.
    `resize` tells the daemon the terminal's present size and raises `Error` when it cannot.
    """

    def __init__(
        self,
        stream: Hijacked,
        relay: SignalRelay,
        *,
        tty: bool,
        stdin: bool,
        output: bool,
        detach_keys: str = "",
        wait: Callable[[bool], Response] | None = None,
        on_signal: Callable[[str], None] | None = None,
        resize: Callable[[], None] | None = None,
    ) -> None:
        self._stream = stream
        self._relay = relay
        self._tty = tty
        self._reading = stdin
        self._output = output
        self._ask = wait
        self._wait = wait(False) if wait is not None else None
        self._on_signal = on_signal
        self._resize = resize
        self._resize_tries = 0
        self._resize_at = 0.0
        self._parser = Parser()
        self._scanner = Scanner(_keys(detach_keys)) if tty and stdin else None
        self._unsent = b""
        self._half_closed = not stdin
        self._wait_body = b""
        self._ended: dict[str, object] | None = None
        self.detached = False
        self._output_ended = False
        self._raw = RawMode(wanted=tty and stdin)

    def run(self) -> None:
        """Move bytes until the output ends or the user detaches; without output, until input and process have ended."""
        sys.stdout.flush()
        with self._raw:
            self.try_resize()
            self._take_wait(receive=False)
            while not self.detached and not self._finished():
                self._step()
        self._stream.close()

    def _finished(self) -> bool:
        if self._output_ended:
            return True
        if self._output:
            return False
        return self._ended is not None or (self._half_closed and self._ask is None)

    def _step(self) -> None:
        poll = select.poll()
        poll.register(self._relay, select.POLLIN)
        poll.register(self._stream, select.POLLIN | (select.POLLOUT if self._is_behind() else 0))
        if self._reading and not self._is_behind():
            poll.register(0, select.POLLIN)
        if self._wait is not None and self._ended is None:
            poll.register(self._wait, select.POLLIN)
        ready = dict(poll.poll(self._timeout()))
        if ready.get(self._relay.fileno()):
            self._take_signals()
        if ready.get(0):
            self._read_input()
        events = ready.get(self._stream.fileno(), 0)
        if events & select.POLLOUT:
            self._send()
        if events & ~select.POLLOUT or self._stream.pending():
            self._read_output()
        if self._wait is not None and ready.get(self._wait.fileno()):
            self._take_wait(receive=True)
        if self._resize_at and time.monotonic() >= self._resize_at:
            self.try_resize()

    def _is_behind(self) -> bool:
        return bool(self._unsent) or self._stream.unsent()

    def _timeout(self) -> float | None:
        if self._stream.pending():
            return 0
        return max(0.0, (self._resize_at - time.monotonic()) * 1000) if self._resize_at else None

    def _read_input(self) -> None:
        try:
            data = os.read(0, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # the terminal is gone
            data = b""
        if not data:
            self._reading = False
            self._unsent += self._scanner.flush() if self._scanner else b""
        elif self._scanner is not None:
            passed, self.detached = self._scanner.feed(data)
            self._unsent += passed
        else:
            self._unsent = data
        self._send()

    def _send(self) -> None:
        try:
            if self._stream.unsent():
                self._stream.send(b"")
            while self._unsent and (sent := self._stream.send(self._unsent)):
                self._unsent = self._unsent[sent:]
        except (BrokenPipeError, ConnectionResetError):
            # The process does not read any more; what it still writes comes by the other direction.
            self._unsent, self._reading = b"", False
        if not self._reading and not self._is_behind() and not self._half_closed:
            self._half_closed = True
            self._stream.close_write()

    def _read_output(self) -> None:
        data = self._stream.recv(_CHUNK)
        if not data:
            self._output_ended = True
            # What is printed from here on is for an ordinary terminal again.
            self._raw.restore()
        elif not self._output:
            return  # nobody asked for it
        elif self._tty:
            write_all(1, data)
        else:
            try:
                for number, piece in self._parser.feed(data):
                    write_all(2 if number >= STDERR else 1, piece)
            except FrameError as error:
                raise CommandError(f"Unrecognized input header: {error}") from None

    def _take_signals(self) -> None:
        import signal

        for number in self._relay.take():
            if number == signal.SIGWINCH and self._resize is not None:
                self._resize_tries = 0
                self.try_resize()
            elif self._on_signal is not None:
                self._on_signal(signal_name(number))
            elif number == signal.SIGHUP or (number in TERMINATING and self._ask is None):
                raise CommandError(status=128 + number)

    def try_resize(self) -> None:
        """Tell the daemon the terminal's size; what is not there yet is tried again shortly after."""
        self._resize_at = 0.0
        if self._resize is None:
            return
        try:
            self._resize()
        except Error:
            self._resize_tries += 1
            if self._resize_tries <= _RESIZE_TRIES:
                self._resize_at = time.monotonic() + self._resize_tries * 0.01
            else:
                sys.stderr.write("failed to resize tty, using default size\r\n")

    def _take_wait(self, *, receive: bool) -> None:
        if self._wait is None:
            return
        try:
            self._wait_body += self._wait.available(receive=receive)
            if self._wait.finished:
                self._ended = json.loads(self._wait_body)
        except (Error, ValueError):  # the daemon has gone; the process and its output may not have
            self._wait.close()
            self._wait = None

    def wait_removed(self) -> None:
        """Wait until a container that could not be started is gone; why it could not is known already."""
        while self._ended is None and self._wait is not None:
            self._wait_for_end()

    def wait_status(self) -> int:
        """Wait for the container's end and return its exit status; 125, with the reason printed, if there is none."""
        assert self._ask is not None
        try:
            while self._ended is None:
                if self._wait is None:
                    self._wait, self._wait_body = patiently(self._ask_again), b""
                    self._take_wait(receive=False)
                else:
                    self._wait_for_end()
        except Error as error:
            sys.stderr.write(f"error waiting for container: {daemon_message(error)}\n")
            return 125
        failed = self._ended.get("Error")
        if isinstance(failed, dict) and failed.get("Message"):
            sys.stderr.write(f"Error waiting for container: {failed['Message']}\n")
            return 125
        return int(str(self._ended.get("StatusCode", 0)))

    def _ask_again(self) -> Response:
        assert self._ask is not None
        return self._ask(True)

    def _wait_for_end(self) -> None:
        assert self._wait is not None
        poll = select.poll()
        poll.register(self._relay, select.POLLIN)
        poll.register(self._wait, select.POLLIN)
        ready = dict(poll.poll())
        if ready.get(self._relay.fileno()):
            self._take_signals()
        if self._wait is not None and ready.get(self._wait.fileno()):
            self._take_wait(receive=True)


def patiently(ask: Callable[[], T]) -> T:
    """Ask a daemon that answered before: while it restarts, ask again for a time."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return ask()
        except CannotConnect:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _keys(text: str) -> bytes:
    try:
        return parse_keys(text)
    except DetachKeyError as error:
        sys.stderr.write(f"invalid detach escape keys, using default: {error}\n")
        return DEFAULT
