"""Process descriptors: a process that cannot be mistaken for a later one with the same number."""

from __future__ import annotations

import os
import select
import signal

__all__ = ["alive", "open_process", "send_signal"]


def open_process(pid: int) -> int:
    """Return a close-on-exec descriptor of the process `pid`. Raises `ProcessLookupError`."""
    return os.pidfd_open(pid)


def send_signal(pidfd: int, number: int) -> None:
    """Send a signal. Raises `ProcessLookupError` when the process has been reaped."""
    signal.pidfd_send_signal(pidfd, number)


def alive(pidfd: int) -> bool:
    """Say whether the process still runs (a zombie does not)."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return not poll.poll(0)
