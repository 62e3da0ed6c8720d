"""One part's progress as a line of a terminal: what it does, a bar, how far it is, how fast, how long it will take.

Pure: times and widths are handed in. What does not fit a narrow terminal is left out, the least useful first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from orlop.cli.humanize import human_size
from orlop.cli.output import ellipsis

__all__ = ["Part", "clock_time"]

Json = Mapping[str, Any]

_SPAN = 5.0  # seconds that a speed is measured over
_SOONEST = 0.5  # seconds before a first speed means anything
_LONGEST_BAR = 50
_SHORTEST_BAR = 10
_STATUS = len("Downloading")  # bars of parts that do different things begin in one column
_SPEED = len(" 1023.9MB/s")
_LEFT = len(" 59m59s")

# A part with one of these and without numbers has still something to do.
_WAITING = frozenset(
    ("Pulling fs layer", "Waiting", "Preparing", "Download complete", "Verifying Checksum", "Retrying")
)


class Part:
    """One layer (or whatever has an id of its own), as its last message told."""

    __slots__ = ("_hide", "_samples", "_units", "current", "identifier", "status", "total")

    def __init__(self, identifier: str) -> None:
        self.identifier = _printable(identifier)
        self.status = ""
        self.current = 0
        self.total = 0
        self._units = ""
        self._hide = False
        self._samples: deque[tuple[float, int]] = deque()

    def update(self, message: Json, now: float) -> None:
        """Take a message of this part; `now` is a clock's seconds."""
        detail = message.get("progressDetail") or {}
        status = _printable(str(message.get("status", "")))
        current = int(detail.get("current") or 0)
        if status != self.status or current < self.current:
            self._samples.clear()
        self.status = status
        self.current = current
        self.total = int(detail.get("total") or 0)
        self._units = str(detail.get("units") or "")
        self._hide = bool(detail.get("hidecounts"))
        if self.moving:
            self._samples.append((now, current))
            while now - self._samples[0][0] > _SPAN:
                self._samples.popleft()

    @property
    def moving(self) -> bool:
        """Whether it is known how far the part is."""
        return self.current > 0 or self.total > 0

    @property
    def waiting(self) -> bool:
        """Whether nothing happens with the part now, but will."""
        return not self.moving and self.status.startswith(tuple(_WAITING))

    def speed(self, now: float) -> float:
        """Return bytes (or units) a second over the last seconds before `now`, 0 when that is not known."""
        if len(self._samples) < 2:
            return 0.0
        (began, first), (_, last) = self._samples[0], self._samples[-1]
        return (last - first) / (now - began) if now - began >= _SOONEST else 0.0

    def line(self, width: int, now: float) -> str:
        """Return the part in less than `width` cells, so that no terminal breaks the line."""
        name = f"{self.identifier}: " if self.identifier else ""
        if not self.moving:
            return ellipsis(name + self.status, max(1, width - 1))
        begin = f"{name}{self.status:<{_STATUS}} "
        room = width - 1 - len(begin)
        numbers = self._numbers()
        extra = self._speed_and_left(now) if room >= len(numbers) + _SPEED + _LEFT else ""
        bar = self._bar(room - len(numbers) - (_SPEED + _LEFT if extra else 0))
        return ellipsis((begin + bar + numbers + extra).rstrip(), max(1, width - 1))

    def _numbers(self) -> str:
        if self._hide:
            return ""
        known = 0 < self.current <= self.total or (self.total > 0 and self.current == 0)
        if self._units:
            return f"{self.current}/{self.total} {self._units}" if known else f"{self.current} {self._units}"
        current = f"{human_size(self.current):>8}"
        return f"{current}/{human_size(self.total):<8}" if known else current

    def _bar(self, room: int) -> str:
        length = min(_LONGEST_BAR, room - len("[>] "))
        if self.total <= 0 or length < _SHORTEST_BAR:
            return ""
        done = min(length, self.current * length // self.total)
        return f"[{'=' * done}>{' ' * (length - done)}] "

    def _speed_and_left(self, now: float) -> str:
        speed = self.speed(now)
        if speed <= 0 or self._hide:
            return " " * (_SPEED + _LEFT)
        text = f"{speed:.4g} {self._units}/s" if self._units else f"{human_size(speed)}/s"
        left = clock_time((self.total - self.current) / speed) if self.total > self.current else ""
        return f"{text:>{_SPEED}}{left:>{_LEFT}}"


def _printable(text: str) -> str:
    """Return a text that stays on its line: what has to do with registries may hold anything."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def clock_time(seconds: float) -> str:
    """Return a span of time in its two largest units, "1m5s"."""
    whole = int(seconds + 0.5)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours}h" if days < 100 else "∞"
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
