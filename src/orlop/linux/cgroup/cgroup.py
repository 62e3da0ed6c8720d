"""The cgroup: the kernel's name for a container's processes, and the limits that hold for all of them together.

A cgroup is *created* with its limits and device rules before anyone is in it, *joined* by the container's first
process (its children are born there), *updated*, *frozen* and *thawed*, *killed*, and *removed* when it is empty.
On cgroup v1 it is one directory in every mounted hierarchy, on v2 a single one; nobody above this package sees a
difference. Everything is named by its path from the root of the hierarchy, so it can be opened again at any time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orlop.linux.cgroup import tree
from orlop.linux.cgroup.files import Resources

__all__ = ["UNLIMITED", "Cgroup", "CgroupUsage", "Mount", "OomWatch", "check_path"]

UNLIMITED = 0x7FFFFFFFFFFFF000  # what v1 shows when there is no limit (PAGE_COUNTER_MAX in bytes)

Mount = dict[str, Any]
"""An OCI mount: destination, type, source, options."""

BlkioEntry = dict[str, Any]


@dataclass(slots=True)
class CgroupUsage:
    """The counters of a cgroup at one moment: times in ns, sizes in bytes; what is not counted stays zero."""

    cpu_total: int = 0
    cpu_user: int = 0
    cpu_system: int = 0
    per_cpu: list[int] = field(default_factory=list)  # v1 only
    throttled: tuple[int, int, int] = (0, 0, 0)  # periods, throttled periods, throttled ns
    memory_usage: int = 0
    memory_max: int = 0  # v1 only
    memory_limit: int = UNLIMITED
    memory_failcnt: int = 0
    memory_stats: dict[str, int] = field(default_factory=dict)
    pids: int = 0
    pids_limit: int = 0  # 0: none
    blkio: dict[str, list[BlkioEntry]] = field(default_factory=dict)  # by Docker's name, e.g. io_serviced_recursive


@dataclass(frozen=True, slots=True)
class OomWatch:
    """A descriptor for epoll that gets one of `events` when the cgroup meets its memory limit; the caller closes it.

    `rearm` says that the file must be read from its start after each event.
    """

    descriptor: int
    events: int
    rearm: bool


class Cgroup(ABC):
    """One cgroup, whether it exists or not yet. Errors are `OSError`s that name the file."""

    def __init__(self, path: str) -> None:
        self.path = check_path(path)

    @abstractmethod
    def directories(self) -> list[Path]:
        """Return its directory in every hierarchy."""

    @abstractmethod
    def create(self, resources: Resources) -> None:
        """Make the cgroup with its limits (OCI ``linux.resources``). An empty leftover of the same name is replaced.

        After an error nothing is left.
        """

    @abstractmethod
    def join(self, pid: int) -> None:
        """Move a process into it; 0 is the caller, which has one thread then and is moved much sooner.

        Raises `ProcessLookupError` when the process has ended.
        """

    @abstractmethod
    def entrances(self) -> list[int]:
        """Open the files by which a thread joins it, in every hierarchy, for later: whoever writes ``0`` is in."""

    @abstractmethod
    def update(self, resources: Resources) -> None:
        """Change the limits that `resources` names; device rules stay as they were created."""

    @abstractmethod
    def freeze(self) -> None:
        """Stop every process; return when all stand still. Raises `TimeoutError` (and thaws) if some do not."""

    @abstractmethod
    def thaw(self) -> None:
        """Let the processes go on."""

    @abstractmethod
    def frozen(self) -> bool:
        """Say whether it was frozen (a freeze that is under way counts)."""

    @abstractmethod
    def kill(self) -> None:
        """Send SIGKILL to every process in it; a frozen cgroup is thawed so that they can die. Does not wait."""

    @abstractmethod
    def oom_kills(self) -> int:
        """Return how many of its processes the kernel has killed for want of memory."""

    @abstractmethod
    def watch_oom(self) -> OomWatch:
        """Return a descriptor that tells of memory running out."""

    @abstractmethod
    def usage(self) -> CgroupUsage:
        """Read the counters."""

    @abstractmethod
    def mounts(self, destination: str, *, private: bool, readonly: bool) -> list[Mount]:
        """Plan what a container sees at `destination` (see `orlop.linux.cgroup.mounts_for_container`)."""

    @abstractmethod
    def _members(self) -> str:
        """Return the directory whose members are the cgroup's processes."""

    def processes(self) -> list[int]:
        """Return the ids of the processes in it and below it."""
        return tree.processes(self._members())

    def remove(self) -> None:
        """Remove it and what is below it; nothing happens when it is gone. Raises `OSError` (EBUSY) when in use."""
        for directory in self.directories():
            tree.remove(str(directory))


def check_path(path: str) -> str:
    """Return the path of a cgroup in its plain form: ``/a/b``. Raises `ValueError` for the root and for ``..``.

    >>> check_path("a//b/")
    '/a/b'
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or any("\0" in part or "\n" in part for part in parts):
        raise ValueError(f"not the path of a cgroup: {path!r}")
    return "/" + "/".join(parts)
