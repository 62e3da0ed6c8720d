"""cpu (Documentation/admin-guide/cgroup-v2.rst#cpu): weight, bandwidth, and processor time."""

from __future__ import annotations

import math

from orlop.linux.cgroup.cgroup import CgroupUsage
from orlop.linux.cgroup.files import Resources, Write, keyed, read

__all__ = ["plan", "usage", "weight"]

DEFAULT_PERIOD = 100_000  # µs
_MIN_SHARES, _MAX_SHARES = 2, 262_144


def plan(resources: Resources) -> list[Write]:
    """Plan weight and bandwidth; there is no real-time bandwidth on v2."""
    cpu = resources.get("cpu") or {}
    writes = [Write("cpu.weight", str(weight(cpu["shares"])))] if cpu.get("shares") else []
    if cpu.get("idle") is not None:
        writes.append(Write("cpu.idle", str(cpu["idle"])))
    quota, period = cpu.get("quota") or 0, cpu.get("period") or 0
    if quota or period:
        writes.append(Write("cpu.max", f"{quota if quota > 0 else 'max'} {period or DEFAULT_PERIOD}"))
    if cpu.get("burst") is not None:
        writes.append(Write("cpu.max.burst", str(cpu["burst"])))
    return writes


def weight(shares: int) -> int:
    """Return the weight (1 to 10,000) for v1's shares (2 to 262,144), as runc and crun map them.

    The curve goes through the three points that matter, on logarithmic scales: both ends, and 1,024 shares, which are
    weight 100, what a cgroup has when nothing is asked.

    >>> weight(2), weight(1024), weight(262144)
    (1, 100, 10000)
    """
    if shares <= _MIN_SHARES:
        return 1
    if shares >= _MAX_SHARES:
        return 10_000
    logarithm = math.log2(shares)
    exponent = (logarithm * logarithm + 125 * logarithm) / 612 - 7 / 34
    return math.ceil(10**exponent)


def usage(directory: str, usage: CgroupUsage) -> None:
    """Fill in processor time and throttling."""
    stat = keyed(read(directory, "cpu.stat"))
    usage.cpu_total = stat.get("usage_usec", 0) * 1000
    usage.cpu_user = stat.get("user_usec", 0) * 1000
    usage.cpu_system = stat.get("system_usec", 0) * 1000
    throttled = stat.get("throttled_usec", 0) * 1000
    usage.throttled = (stat.get("nr_periods", 0), stat.get("nr_throttled", 0), throttled)
