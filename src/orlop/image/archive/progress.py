"""Progress messages in Docker's form, and the bar that goes with them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from orlop.formats.units import decimal_size

__all__ = ["Meter", "Report", "bar"]

Report = Callable[[dict[str, Any]], None]

_BAR = 50
_MIN_STEP = 512 << 10
_MIN_INTERVAL = 0.1  # seconds


def bar(current: int, total: int) -> str:
    """Return Docker's text of a progress: ``[=====>     ]  1.2MB/12MB``; without a total the bytes alone."""
    if total <= 0:
        return f"{decimal_size(current):>8}"
    filled = min(int(current / total * 100) // 2, _BAR)
    numbers = f"{decimal_size(current):>8}"
    if current <= total:
        numbers += f"/{decimal_size(total)}"
    return f"[{'=' * filled}>{' ' * (_BAR - filled)}] {numbers}"


class Meter:
    """Counts the bytes of one piece of work and reports every per cent or 512 kB, ten times a second at most."""

    def __init__(self, report: Report | None, status: str, id: str, total: int) -> None:
        self._report = report
        self._status = status
        self._id = id
        self._total = total
        self._step = min(total // 100, _MIN_STEP) if total > 0 else _MIN_STEP
        self._current = self._told = 0
        self._last = 0.0

    def add(self, count: int) -> None:
        """Count `count` more bytes."""
        self._current += count
        if self._report is None or self._current - self._told <= self._step:
            return
        now = time.monotonic()
        if now - self._last >= _MIN_INTERVAL:
            self._last = now
            self._tell(self._report)

    def finish(self) -> None:
        """Report the end."""
        if self._report is not None and self._told != self._current:
            self._tell(self._report)

    def _tell(self, report: Report) -> None:
        self._told = self._current
        detail = {"current": self._current, "total": self._total} if self._total > 0 else {"current": self._current}
        text = bar(self._current, self._total)
        report({"status": self._status, "progressDetail": detail, "progress": text, "id": self._id})
