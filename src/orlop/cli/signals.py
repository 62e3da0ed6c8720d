"""Signals as events of a loop: each that arrives is a byte to read, so nothing happens in between."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType

from orlop.cli.failure import CommandError

__all__ = ["SignalRelay", "signal_name"]

# What a client cannot catch, what says nothing to a container, and what Python itself relies on.
_NEVER = {"SIGKILL", "SIGSTOP", "SIGCHLD", "SIGCLD", "SIGPIPE", "SIGURG", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL"}
TERMINATING = frozenset((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
_INSISTING = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 3


def signal_name(number: int) -> str:
    """Return a signal's name as Docker's API takes it ("TERM"), or its number."""
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(number)


class SignalRelay:
    """While it is entered, catches signals and makes `fileno` readable; `take` returns those that came.

    With `everything` these are all that can be caught, else only those of a terminal (its size, and the wish to end).
    The third INT or TERM ends the client with `CommandError`, as docker's, wherever it is: also while it waits for a
    daemon that does not answer.
    """

    def __init__(self, *, everything: bool) -> None:
        self._everything = everything
        self._previous: dict[int, object] = {}
        self._reader = self._writer = -1
        self._old_wakeup = -1
        self._insisted = 0

    def __enter__(self) -> SignalRelay:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in self._wanted():
            self._previous[number] = signal.signal(number, self._hear)
        return self

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._insisted += number in _INSISTING
        if self._insisted == _PATIENCE:
            raise CommandError("\ngot 3 SIGTERM/SIGINTs, forcefully exiting")

    def _wanted(self) -> list[signal.Signals]:
        if not self._everything:
            return [*sorted(TERMINATING), signal.SIGWINCH]
        return [number for number in signal.Signals if number.name not in _NEVER and number < signal.SIGRTMIN]

    def take(self) -> list[int]:
        """Return the numbers of the signals that came since the last call."""
        try:
            return list(os.read(self._reader, 256))
        except BlockingIOError:
            return []

    def fileno(self) -> int:
        return self._reader

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._old_wakeup)
        os.close(self._reader)
        os.close(self._writer)
