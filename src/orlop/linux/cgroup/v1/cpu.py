"""cpu and cpuacct: shares, bandwidth (cfs quota and period), real-time bandwidth, and processor time."""

from __future__ import annotations

import os

from orlop.linux.cgroup.cgroup import CgroupUsage
from orlop.linux.cgroup.files import Resources, Write, keyed, number, read

__all__ = ["DEFAULT_PERIOD", "current_period", "plan", "usage"]

DEFAULT_PERIOD = 100_000  # µs
_PERIOD = "cpu.cfs_period_us"
_QUOTA = "cpu.cfs_quota_us"
_NS_A_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def current_period(directory: str) -> int:
    """Return the period that stands, in µs."""
    return number(directory, _PERIOD, DEFAULT_PERIOD)


def plan(resources: Resources, period: int = DEFAULT_PERIOD) -> list[Write]:
    """Plan shares and bandwidth; `period` is the one that stands.

    Between the two writes the ratio of quota to period must not exceed what the parent allows: a period that grows
    is written first, one that shrinks last.
    """
    cpu = resources.get("cpu") or {}
    writes = [Write("cpu.shares", str(cpu["shares"]))] if cpu.get("shares") else []
    if cpu.get("idle") is not None:
        writes.append(Write("cpu.idle", str(cpu["idle"])))
    bandwidth = []
    if cpu.get("period"):
        bandwidth.append(Write(_PERIOD, str(cpu["period"])))
    if cpu.get("quota"):
        bandwidth.append(Write(_QUOTA, str(cpu["quota"])))
    if len(bandwidth) == 2 and cpu["period"] < period:
        bandwidth.reverse()
    writes += bandwidth
    if cpu.get("burst") is not None:
        writes.append(Write("cpu.cfs_burst_us", str(cpu["burst"])))
    if cpu.get("realtimePeriod"):
        writes.append(Write("cpu.rt_period_us", str(cpu["realtimePeriod"])))
    if cpu.get("realtimeRuntime"):
        writes.append(Write("cpu.rt_runtime_us", str(cpu["realtimeRuntime"])))
    return writes


def usage(directory: str, accounting: str, usage: CgroupUsage) -> None:
    """Fill in processor time (from the cpuacct directory `accounting`) and throttling."""
    usage.cpu_total = number(accounting, "cpuacct.usage")
    ticks = keyed(read(accounting, "cpuacct.stat"))
    usage.cpu_user = ticks.get("user", 0) * _NS_A_TICK
    usage.cpu_system = ticks.get("system", 0) * _NS_A_TICK
    usage.per_cpu = [int(value) for value in read(accounting, "cpuacct.usage_percpu").split()]
    stat = keyed(read(directory, "cpu.stat"))
    usage.throttled = (stat.get("nr_periods", 0), stat.get("nr_throttled", 0), stat.get("throttled_time", 0))
