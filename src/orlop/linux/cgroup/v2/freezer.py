"""freezer: stop and continue all processes of a cgroup (cgroup.freeze, kernel 5.2)."""

from __future__ import annotations

import errno
import time

from orlop.linux.cgroup.files import Write, first_line, keyed, perform, read

__all__ = ["FROZEN", "THAWED", "freeze", "plan", "state"]

FROZEN = "1"
THAWED = "0"
_ATTEMPTS = 2000
_PAUSE = 0.001  # seconds


def plan(state: str) -> list[Write]:
    """Plan the change to `state`."""
    return [Write("cgroup.freeze", state)]


def state(directory: str) -> str:
    """Return `FROZEN` or `THAWED`, as it was asked for; empty when the cgroup is gone."""
    return first_line(directory, "cgroup.freeze")


def freeze(directory: str) -> None:
    """Freeze and wait until all processes stand still, at most about two seconds.

    Raises `TimeoutError`; the cgroup is thawed then.
    """
    perform(directory, plan(FROZEN))
    for _ in range(_ATTEMPTS):
        if keyed(read(directory, "cgroup.events")).get("frozen"):
            return
        time.sleep(_PAUSE)
    perform(directory, plan(THAWED))
    raise TimeoutError(errno.ETIMEDOUT, "unable to freeze", directory)
