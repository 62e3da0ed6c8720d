"""memory (Documentation/admin-guide/cgroup-v1/memory.rst): memory, memory with swap, and OOM kills."""

from __future__ import annotations

import os
from select import EPOLLIN
from typing import NamedTuple

from orlop.linux.cgroup import tree
from orlop.linux.cgroup.cgroup import UNLIMITED, CgroupUsage, OomWatch
from orlop.linux.cgroup.files import Exists, Resources, Write, keyed, number, read

__all__ = ["UNSET", "Current", "current", "oom_kills", "plan", "usage", "watch_oom"]

_LIMIT = "memory.limit_in_bytes"
_SWAP = "memory.memsw.limit_in_bytes"


class Current(NamedTuple):
    """The limits that stand: memory, and memory with swap."""

    limit: int = UNLIMITED
    swap: int = UNLIMITED


UNSET = Current()


def current(directory: str) -> Current:
    """Read the limits that stand."""
    return Current(number(directory, _LIMIT, UNLIMITED), number(directory, _SWAP, UNLIMITED))


def plan(resources: Resources, exists: Exists, current: Current = UNSET) -> list[Write]:
    """Plan the limits. The kernel holds memory ≤ memory+swap at every moment, which decides the order."""
    memory = resources.get("memory") or {}
    limits = []
    if memory.get("limit"):
        limits.append(Write(_LIMIT, str(memory["limit"])))
    # Without swap accounting there is no such file, and "no limit" is what stands anyway.
    if memory.get("swap") and (exists(_SWAP) or memory["swap"] > 0):
        limits.append(Write(_SWAP, str(memory["swap"])))
    if len(limits) == 2 and _bytes(memory["swap"]) > current.swap:
        limits.reverse()
    writes = limits
    if memory.get("reservation"):
        writes.append(Write("memory.soft_limit_in_bytes", str(memory["reservation"])))
    if memory.get("swappiness") is not None:
        writes.append(Write("memory.swappiness", str(memory["swappiness"])))
    if memory.get("disableOOMKiller"):
        writes.append(Write("memory.oom_control", "1"))
    return writes


def usage(directory: str, usage: CgroupUsage) -> None:
    """Fill in the memory counters."""
    usage.memory_usage = number(directory, "memory.usage_in_bytes")
    usage.memory_max = number(directory, "memory.max_usage_in_bytes")
    usage.memory_limit = number(directory, _LIMIT, UNLIMITED)
    usage.memory_failcnt = number(directory, "memory.failcnt")
    usage.memory_stats = keyed(read(directory, "memory.stat"))


def oom_kills(directory: str) -> int:
    """Return the OOM kills; v1 counts them where the victim was, so those of the cgroups below are added."""
    return sum(keyed(read(cgroup, "memory.oom_control")).get("oom_kill", 0) for cgroup in tree.walk(directory))


def watch_oom(directory: str) -> OomWatch:
    """Return an eventfd(2) that counts the times the limit was met with nothing left to reclaim."""
    event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            register = os.open(f"{directory}/cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(register, f"{event} {control}".encode())
            finally:
                os.close(register)
        finally:
            os.close(control)
    except OSError:
        os.close(event)
        raise
    return OomWatch(event, EPOLLIN, rearm=False)


def _bytes(limit: int) -> int:
    return UNLIMITED if limit < 0 else limit
