"""The user's terminal: whether there is one, its size, and raw mode that is always undone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

__all__ = ["RawMode", "check_input", "is_terminal", "silent_input", "terminal_size"]


def is_terminal(descriptor: int) -> bool:
    """Say whether a descriptor is a terminal."""
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def terminal_size(descriptor: int) -> tuple[int, int]:
    """Return height and width of a terminal, zeros when it is none."""
    try:
        width, height = os.get_terminal_size(descriptor)
    except OSError:
        return 0, 0
    return height, width


def check_input(*, attach: bool, tty: bool) -> None:
    """Refuse to join a container's terminal with an input that is none."""
    from orlop.cli.failure import CommandError

    if attach and tty and not is_terminal(0):
        raise CommandError("the input device is not a TTY")


class RawMode:
    """While it is entered, the terminal passes every key on and changes nothing; `restore` may come earlier."""

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted and not os.environ.get("NORAW")
        self._saved: list[tuple[int, list[Any]]] = []

    def __enter__(self) -> RawMode:
        if self._wanted:
            for descriptor in (0, 1):
                if is_terminal(descriptor):
                    self._make_raw(descriptor, whole=descriptor == 0)
        return self

    def _make_raw(self, descriptor: int, *, whole: bool) -> None:
        import termios

        saved = termios.tcgetattr(descriptor)
        changed = [*saved[:6], list(saved[6])]
        changed[1] &= ~termios.OPOST
        if whole:
            changed[0] &= ~(
                termios.IGNBRK
                | termios.BRKINT
                | termios.PARMRK
                | termios.ISTRIP
                | termios.INLCR
                | termios.IGNCR
                | termios.ICRNL
                | termios.IXON
            )
            changed[2] = (changed[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
            changed[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
            changed[6][termios.VMIN] = 1
            changed[6][termios.VTIME] = 0
        termios.tcsetattr(descriptor, termios.TCSANOW, changed)
        self._saved.append((descriptor, saved))

    def restore(self) -> None:
        """Give the terminal back as it was found."""
        import termios

        while self._saved:
            descriptor, saved = self._saved.pop()
            try:
                termios.tcsetattr(descriptor, termios.TCSANOW, saved)
            except termios.error:  # it was closed, as when its window was
                pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._saved:
            self.restore()


@contextmanager
def silent_input(descriptor: int) -> Iterator[None]:
    """While it is entered, the terminal does not show what is typed; signals that end the program undo it, too."""
    import signal
    import termios

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    try:
        saved = termios.tcgetattr(descriptor)
    except termios.error as error:
        from orlop.errors import Error

        raise Error(os.strerror(error.args[0]).lower()) from None
    silent = [*saved[:6], list(saved[6])]
    silent[3] = (silent[3] & ~termios.ECHO) | termios.ICANON | termios.ISIG
    handlers = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, silent)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)
        for number, handler in handlers.items():
            signal.signal(number, handler)
