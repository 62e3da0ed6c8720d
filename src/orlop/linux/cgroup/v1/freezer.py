"""freezer: stop and continue all processes of a cgroup (Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst)."""

from __future__ import annotations

import errno
import time

from orlop.linux.cgroup.files import Write, first_line, perform

__all__ = ["FROZEN", "THAWED", "freeze", "plan", "state"]

FROZEN = "FROZEN"
THAWED = "THAWED"
_STATE = "freezer.state"
_ATTEMPTS = 2000
_PAUSE = 0.001  # seconds
_AGAIN = 50  # attempts after which a freeze that hangs is begun again


def plan(state: str) -> list[Write]:
    """Plan the change to `state`."""
    return [Write(_STATE, state)]


def state(directory: str) -> str:
    """Return ``THAWED``, ``FREEZING`` or ``FROZEN``; empty when the cgroup is gone."""
    return first_line(directory, _STATE)


def freeze(directory: str) -> None:
    """Freeze and wait until all processes stand still, at most about two seconds.

    A process that forks at the wrong moment can keep a freeze from ending; a thaw in between lets it go through.
    Raises `TimeoutError`; the cgroup is thawed then.
    """
    for attempt in range(_ATTEMPTS):
        if attempt and attempt % _AGAIN == 0:
            perform(directory, plan(THAWED))
            time.sleep(_PAUSE)
        if attempt % _AGAIN == 0:
            perform(directory, plan(FROZEN))
        if state(directory) == FROZEN:
            return
        time.sleep(_PAUSE)
    perform(directory, plan(THAWED))
    raise TimeoutError(errno.ETIMEDOUT, "unable to freeze", directory)
