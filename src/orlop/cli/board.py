"""Lines at the lower end of a terminal that are redrawn in place, one for each part of something that goes on.

There are never more than fit above the cursor; parts beyond are counted in the last line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from orlop.cli.bars import Part
from orlop.cli.frame import Frame
from orlop.cli.output import ellipsis

__all__ = ["Board"]

_SIZE = (24, 80)  # of a terminal that does not know its own


class Board:
    """The parts by their id. `size` returns height and width of the terminal, `clock` seconds."""

    def __init__(
        self, stream: TextIO, size: Callable[[], tuple[int, int]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._size = size
        self._clock = clock
        self._parts: dict[str, Part] = {}
        self._frame = Frame(stream)

    def update(self, message: Mapping[str, Any]) -> None:
        """Take a message of a part; it is seen when `draw` is called next."""
        identifier = str(message.get("id") or "")
        part = self._parts.get(identifier)
        if part is None:
            part = self._parts[identifier] = Part(identifier)
        part.update(message, self._clock())

    def draw(self) -> None:
        """Show all parts as they are now."""
        if not self._parts:
            return
        height, width = (known or default for known, default in zip(self._size(), _SIZE, strict=True))
        parts = list(self._parts.values())
        self._frame.replace(_chosen_lines(parts, max(1, height - 1), width, self._clock()), height, width)

    def finish(self) -> None:
        """Leave the last state of every part above the cursor, and begin anew."""
        if not self._parts:
            return
        height, width = (known or default for known, default in zip(self._size(), _SIZE, strict=True))
        now = self._clock()
        self._frame.replace([part.line(width, now) for part in self._parts.values()], height, width, whole=True)
        self._parts.clear()
        self._frame.release()


def _chosen_lines(parts: Sequence[Part], most: int, width: int, now: float) -> list[str]:
    """Return the lines of at most `most` parts: of those that move first, then of those that wait, in their order."""
    if len(parts) <= most:
        return [part.line(width, now) for part in parts]
    order = sorted(range(len(parts)), key=lambda index: (not parts[index].moving, not parts[index].waiting, index))
    seen = set(order[: most - 1])
    hidden = [part for index, part in enumerate(parts) if index not in seen]
    return [*(parts[index].line(width, now) for index in sorted(seen)), _summary(hidden, width)]


def _summary(hidden: Sequence[Part], width: int) -> str:
    moving = sum(part.moving for part in hidden)
    waiting = sum(part.waiting for part in hidden)
    counts = ((moving, "in progress"), (waiting, "waiting"), (len(hidden) - moving - waiting, "complete"))
    text = ", ".join(f"{count} {what}" for count, what in counts if count)
    return ellipsis(f"... and {len(hidden)} more: {text}", max(1, width - 1))
