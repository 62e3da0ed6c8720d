"""blkio: weights and throttling of block devices, and what was read and written."""

from __future__ import annotations

from orlop.linux.cgroup.cgroup import BlkioEntry, CgroupUsage
from orlop.linux.cgroup.files import Exists, Resources, Write, read

__all__ = ["plan", "usage"]

_THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
)

# Docker's names of the statistics, and the files under blkio. that hold them.
_STATISTICS = {
    "io_service_bytes_recursive": "io_service_bytes_recursive",
    "io_serviced_recursive": "io_serviced_recursive",
    "io_queue_recursive": "io_queued_recursive",
    "io_service_time_recursive": "io_service_time_recursive",
    "io_wait_time_recursive": "io_wait_time_recursive",
    "io_merged_recursive": "io_merged_recursive",
    "io_time_recursive": "time_recursive",
    "sectors_recursive": "sectors_recursive",
}


def plan(resources: Resources, exists: Exists) -> list[Write]:
    """Plan weights (of BFQ where the kernel has it, else of CFQ) and throttles."""
    block = resources.get("blockIO") or {}
    family = "blkio.bfq" if exists("blkio.bfq.weight") else "blkio"
    writes = [Write(f"{family}.weight", str(block["weight"]))] if block.get("weight") else []
    if block.get("leafWeight"):
        writes.append(Write("blkio.leaf_weight", str(block["leafWeight"])))
    for device in block.get("weightDevice") or ():
        value = f"{device['major']}:{device['minor']} {device['weight']}"
        writes.append(Write(f"{family}.weight_device", value))
    for key, file in _THROTTLES:
        for device in block.get(key) or ():
            writes.append(Write(file, f"{device['major']}:{device['minor']} {device['rate']}"))
    return writes


def usage(directory: str, usage: CgroupUsage) -> None:
    """Fill in the block I/O counters: those of the scheduler that counts, else those of the throttling layer."""
    for name, file in _STATISTICS.items():
        for family in ("blkio.bfq", "blkio", "blkio.throttle"):
            if entries := _entries(read(directory, f"{family}.{file}")):
                usage.blkio[name] = entries
                break


def _entries(text: str) -> list[BlkioEntry]:
    """Parse ``254:0 Read 4096`` lines; a line may lack the operation (``8:0 12``), the last is a total of all."""
    entries = []
    for line in text.splitlines():
        device, _, rest = line.partition(" ")
        major, colon, minor = device.partition(":")
        operation, _, value = rest.rpartition(" ")
        if colon and value.isdigit():
            entries.append({"major": int(major), "minor": int(minor), "op": operation, "value": int(value)})
    return entries
