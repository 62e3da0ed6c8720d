"""A cgroup directory and what is below it: making, listing, signalling, removing. The same on both versions."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator

from orlop.linux.cgroup.files import read

__all__ = ["children", "processes", "remove", "signal_all", "walk"]

_FIRST_PAUSE = 0.001  # seconds; doubled up to the last
_LAST_PAUSE = 0.128
_ATTEMPTS = 16  # about 1.3 s


def children(directory: str) -> list[str]:
    """Return the names of the child cgroups; none when the directory is not there."""
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def walk(directory: str) -> Iterator[str]:
    """Yield the cgroups below `directory` and itself, children before parents."""
    for name in children(directory):
        yield from walk(f"{directory}/{name}")
    yield directory


def processes(directory: str) -> list[int]:
    """Return the process ids in the cgroup and below it; 0 stands for a process of another pid namespace."""
    return [int(pid) for cgroup in walk(directory) for pid in read(cgroup, "cgroup.procs").split()]


def signal_all(directory: str, number: int = signal.SIGKILL) -> int:
    """Send a signal to every process in the cgroup and below; return to how many."""
    count = 0
    for pid in processes(directory):
        if pid > 0:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
            count += 1
    return count


def remove(directory: str, attempts: int = _ATTEMPTS) -> None:
    """Remove the cgroup and those below it; nothing happens when it is not there.

    The kernel says EBUSY for a moment after the last process has gone, so that is tried again for a second.
    Raises `OSError` (EBUSY) when processes are still in it.
    """
    pause = _FIRST_PAUSE
    for attempt in range(attempts):
        try:
            for cgroup in walk(directory):
                _rmdir(cgroup)
            return
        except OSError as error:
            if error.errno != errno.EBUSY or attempt == attempts - 1:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LAST_PAUSE)


def _rmdir(directory: str) -> None:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return
