"""memory (Documentation/admin-guide/cgroup-v2.rst#memory): memory, swap, and OOM kills."""

from __future__ import annotations

import errno
import os
from select import EPOLLPRI

from orlop.linux.cgroup.cgroup import UNLIMITED, CgroupUsage, OomWatch
from orlop.linux.cgroup.files import Exists, Resources, Write, keyed, number, read

__all__ = ["oom_kills", "plan", "swap_alone", "usage", "watch_oom"]

_SWAP = "memory.swap.max"


def plan(resources: Resources, exists: Exists) -> list[Write]:
    """Plan the limits. Swappiness and a disabled OOM killer are v1's alone. Raises `OSError` (EINVAL)."""
    memory = resources.get("memory") or {}
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    writes = []
    # Swap first: when both shrink nothing is pushed out to swap that may not stay there.
    if swap and (exists(_SWAP) or swap > 0):
        writes.append(Write(_SWAP, _text(swap_alone(limit, swap))))
    if limit:
        writes.append(Write("memory.max", _text(limit)))
    if memory.get("reservation"):
        writes.append(Write("memory.low", _text(memory["reservation"])))
    return writes


def swap_alone(memory: int, memory_and_swap: int) -> int:
    """Return the limit on swap of limits as v1 has them, on memory and on both together; -1 is no limit."""
    if memory_and_swap < 0:
        return -1
    if memory <= 0 or memory_and_swap < memory:
        raise OSError(errno.EINVAL, "a limit on memory and swap needs one on memory that is not larger")
    return memory_and_swap - memory


def usage(directory: str, usage: CgroupUsage) -> None:
    """Fill in the memory counters."""
    usage.memory_usage = number(directory, "memory.current")
    usage.memory_limit = number(directory, "memory.max", UNLIMITED)
    usage.memory_failcnt = keyed(read(directory, "memory.events")).get("oom", 0)
    usage.memory_stats = keyed(read(directory, "memory.stat"))


def oom_kills(directory: str) -> int:
    """Return the OOM kills in the cgroup and below it."""
    return keyed(read(directory, "memory.events")).get("oom_kill", 0)


def watch_oom(directory: str) -> OomWatch:
    """Return a descriptor of memory.events, which the kernel marks with POLLPRI at each change."""
    descriptor = os.open(f"{directory}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
    os.read(descriptor, 4096)  # armed by reading
    return OomWatch(descriptor, EPOLLPRI, rearm=True)


def _text(limit: int) -> str:
    return "max" if limit < 0 else str(limit)
