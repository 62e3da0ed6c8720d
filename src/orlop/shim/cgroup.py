"""The container's cgroup as its shim uses it; a specification without ``cgroupsPath`` has none."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from orlop.linux.cgroup import Cgroup, OomWatch, open_cgroup
from orlop.shim.failure import StartError
from orlop.shim.loop import Loop

__all__ = ["ContainerCgroup"]


class ContainerCgroup:
    """Made before the first process is in it, removed when the last one is dead."""

    def __init__(self, path: str) -> None:
        """Name it. Raises `StartError` for a path that is none."""
        self.path = path
        try:
            self._cgroup: Cgroup | None = open_cgroup(path) if path else None
        except (OSError, ValueError) as error:
            raise _failure("unable to apply cgroup configuration", error) from error
        self._reported = 0

    def create(self, resources: dict[str, Any]) -> None:
        """Make it with its limits. Raises `StartError`."""
        if self._cgroup is None:
            return
        try:
            self._cgroup.create(resources)
        except (OSError, ValueError) as error:
            raise _failure("unable to apply cgroup configuration", error) from error

    def join(self, pid: int) -> None:
        """Move a process into it. Raises `StartError`."""
        if self._cgroup is None:
            return
        try:
            self._cgroup.join(pid)
        except OSError as error:
            raise _failure("unable to apply cgroup configuration", error) from error

    def watch_oom(self) -> OomWatch | None:
        """Return a descriptor that tells of memory running out; None where nobody can tell."""
        if self._cgroup is None:
            return None
        try:
            return self._cgroup.watch_oom()
        except OSError:  # no memory controller
            return None

    def follow(self, loop: Loop, watch: OomWatch, on_kill: Callable[[], None]) -> None:
        """Call `on_kill` when the kernel has killed a process for want of memory."""

        def told(_: int) -> None:
            if watch.rearm:
                os.lseek(watch.descriptor, 0, os.SEEK_SET)
            os.read(watch.descriptor, 4096)
            if self.news_of_oom():
                on_kill()

        loop.add(watch.descriptor, watch.events, told)

    def news_of_oom(self) -> bool:
        """Say whether a process was killed for want of memory since this was asked last."""
        known, self._reported = self._reported, self.oom_kills()
        return self._reported > known

    def oom_kills(self) -> int:
        """Return how many processes were killed for want of memory."""
        if self._cgroup is None:
            return 0
        try:
            return self._cgroup.oom_kills()
        except OSError:
            return 0

    def kill(self) -> None:
        """Kill what is left in it."""
        if self._cgroup is not None:
            try:
                self._cgroup.kill()
            except FileNotFoundError:  # it was removed under us; then nothing is in it
                return

    def remove(self) -> None:
        """Remove it; one that stays busy is left for orlopd, which sweeps."""
        if self._cgroup is None:
            return
        try:
            self._cgroup.kill()
            self._cgroup.remove()
        except OSError:
            return


def _failure(what: str, error: OSError | ValueError) -> StartError:
    if isinstance(error, OSError):
        return StartError.from_os("cgroup", f"{what}: {error.filename or ''}".rstrip(": "), error)
    return StartError("cgroup", f"{what}: {error}")
