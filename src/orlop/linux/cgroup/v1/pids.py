"""pids: how many tasks (processes and threads) a cgroup may have."""

from __future__ import annotations

from orlop.linux.cgroup.cgroup import CgroupUsage
from orlop.linux.cgroup.files import Resources, Write, number

__all__ = ["plan", "usage"]


def plan(resources: Resources) -> list[Write]:
    """Plan the limit; one that is not positive means none."""
    limit = (resources.get("pids") or {}).get("limit")
    if limit is None:
        return []
    return [Write("pids.max", str(limit) if limit > 0 else "max")]


def usage(directory: str, usage: CgroupUsage) -> None:
    """Fill in the number of tasks and its limit."""
    usage.pids = number(directory, "pids.current")
    usage.pids_limit = number(directory, "pids.max")
