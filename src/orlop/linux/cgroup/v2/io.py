"""io (Documentation/admin-guide/cgroup-v2.rst#io): weights and throttling of block devices, and their counters."""

from __future__ import annotations

from typing import Any

from orlop.linux.cgroup.cgroup import CgroupUsage
from orlop.linux.cgroup.files import Exists, Resources, Write, nested, read

__all__ = ["plan", "usage", "weight"]

_THROTTLES = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)


def plan(resources: Resources, exists: Exists) -> list[Write]:
    """Plan weights (BFQ's, which are v1's, where the kernel has it; else converted) and throttles."""
    block = resources.get("blockIO") or {}
    bfq = exists("io.bfq.weight")
    file = "io.bfq.weight" if bfq else "io.weight"

    def text(value: int) -> str:
        return str(value if bfq else weight(value))

    writes = [Write(file, text(block["weight"]))] if block.get("weight") else []
    for device in block.get("weightDevice") or ():
        writes.append(Write(file, f"{_name(device)} {text(device['weight'])}"))
    for key, limit in _THROTTLES:
        for device in block.get(key) or ():
            # v1's way to take a limit away is 0.
            writes.append(Write("io.max", f"{_name(device)} {limit}={device['rate'] or 'max'}"))
    return writes


def weight(weight: int) -> int:
    """Return the weight (1 to 10,000) for v1's (10 to 1,000).

    >>> weight(10), weight(1000)
    (1, 10000)
    """
    return 1 + (weight - 10) * 9999 // 990


def usage(directory: str, usage: CgroupUsage) -> None:
    """Fill in the bytes read and written: what Docker's statistics have on v2."""
    entries = []
    for device, counters in nested(read(directory, "io.stat")).items():
        major, _, minor = device.partition(":")
        if not minor.isdigit():
            continue
        for operation, key in (("read", "rbytes"), ("write", "wbytes")):
            value = counters.get(key, 0)
            entries.append({"major": int(major), "minor": int(minor), "op": operation, "value": value})
    if entries:
        usage.blkio["io_service_bytes_recursive"] = entries


def _name(device: dict[str, Any]) -> str:
    return f"{device['major']}:{device['minor']}"
