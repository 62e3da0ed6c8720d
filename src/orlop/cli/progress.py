"""What a daemon tells while it pulls, pushes, loads or imports: bars on a terminal, else docker's plain lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TextIO

from orlop.cli.terminal import is_terminal, terminal_size
from orlop.client.engine import json_batches
from orlop.client.transport import Response
from orlop.errors import Error

__all__ = ["show_batches", "show_progress"]

Json = Mapping[str, Any]

_TICK = 0.5  # seconds after which speeds and the terminal's size are looked at again


def show_progress(
    response: Response, descriptor: int, *, quiet: bool = False, on_aux: Callable[[Json], None] | None = None
) -> None:
    """Print an answer's progress messages to standard output (1) or error (2); raise `Error` for one that is an error.

    `on_aux` gets what is data, not progress.
    """
    show_batches(json_batches(response, tick=_TICK), descriptor, quiet=quiet, on_aux=on_aux)


def show_batches(
    batches: Iterable[Sequence[Json]],
    descriptor: int,
    *,
    quiet: bool = False,
    on_aux: Callable[[Json], None] | None = None,
) -> None:
    """Print messages as `show_progress` does; a terminal is redrawn after each batch of them, an empty one too."""
    stream = sys.stdout if descriptor == 1 else sys.stderr
    display: _Display
    if quiet:
        display = _Silence()
    elif is_terminal(descriptor):
        display = _Terminal(stream, descriptor)
    else:
        display = _Plain(stream)
    try:
        for messages in batches:
            for message in messages:
                if "aux" in message:
                    if on_aux is not None:
                        on_aux(message["aux"])
                    continue
                _raise_if_failed(message)
                display.show(message)
            display.settle()
    except KeyboardInterrupt:
        display.settle()
        raise
    except BaseException:
        display.close()
        raise
    display.close()


def _raise_if_failed(message: Json) -> None:
    failed = message.get("errorDetail") or message.get("error")
    if failed:
        raise Error(str(failed.get("message", "")) if isinstance(failed, dict) else str(failed))


class _Display(Protocol):
    def show(self, message: Json) -> None: ...

    def settle(self) -> None:
        """Nothing more has arrived for now."""

    def close(self) -> None: ...


class _Silence:
    def show(self, message: Json) -> None:
        pass

    def settle(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Plain:
    """A log has no use for how far a part is: only what changes otherwise is a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, message: Json) -> None:
        if not _is_moving(message):
            self._stream.write(_plain_text(message))

    def settle(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()


class _Terminal:
    """Messages of parts are lines of a board; others are printed below it, and end it."""

    def __init__(self, stream: TextIO, descriptor: int) -> None:
        from orlop.cli.board import Board

        self._stream = stream
        self._board = Board(stream, lambda: terminal_size(descriptor))

    def show(self, message: Json) -> None:
        if "progressDetail" in message and "stream" not in message:
            self._board.update(message)
        else:
            self._board.finish()
            self._stream.write(_plain_text(message))

    def settle(self) -> None:
        self._board.draw()
        self._stream.flush()

    def close(self) -> None:
        self._board.finish()
        self._stream.flush()


def _is_moving(message: Json) -> bool:
    detail = message.get("progressDetail") or {}
    return bool(detail.get("current") or detail.get("total"))


def _plain_text(message: Json) -> str:
    part = f"{message['id']}: " if message.get("id") else ""
    origin = f"(from {message['from']}) " if message.get("from") else ""
    if "progressDetail" not in message and message.get("progress"):
        return f"{part}{origin}{message.get('status', '')} {message['progress']}"
    if message.get("stream"):
        return f"{part}{origin}{message['stream']}"
    return f"{part}{origin}{message.get('status', '')}\n"
