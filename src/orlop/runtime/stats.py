"""Statistics of a running container: what `docker stats` and GET /containers/{id}/stats show.

A `Sample` is read from the kernel; `docker_stats` makes Docker's JSON of one sample and the one before it. Rates and
percentages are the client's work, as are the page cache and the limits that it subtracts.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orlop.formats.duration import format_rfc3339
from orlop.linux import cgroup, proc
from orlop.linux.cgroup import Cgroup
from orlop.model.record import ContainerRecord
from orlop.runtime.runtime import Usage

__all__ = ["Sample", "docker_stats", "parse_net_dev", "parse_system_cpu", "sample", "usage_of"]

Json = dict[str, Any]
_NEVER = "0001-01-01T00:00:00Z"
_NO_LIMIT = (1 << 64) - 1  # what Docker shows for pids.max "max" on cgroup v2
_BLKIO = (
    "io_service_bytes_recursive",
    "io_serviced_recursive",
    "io_queue_recursive",
    "io_service_time_recursive",
    "io_wait_time_recursive",
    "io_merged_recursive",
    "io_time_recursive",
    "sectors_recursive",
)
_NET_RECEIVED = ("rx_bytes", "rx_packets", "rx_errors", "rx_dropped")
_NET_SENT = ("tx_bytes", "tx_packets", "tx_errors", "tx_dropped")


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters of a container and its host at one moment. Times in ns, sizes in bytes."""

    usage: Usage
    system_cpu: int = 0  # time of all CPUs of the host
    online_cpus: int = 0
    host_memory: int = 0
    cgroup_version: int = 2
    networks: dict[str, dict[str, int]] = field(default_factory=dict)


def sample(group: Cgroup, pid: int) -> Sample | None:
    """Read the counters of a container with cgroup `group` and first process `pid`; None if it is gone. Blocking."""
    try:
        usage = usage_of(group)
        networks = parse_net_dev(Path(f"/proc/{pid}/net/dev").read_text())
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in (22, 19):  # EINVAL of a zombie's net/dev, ENODEV of a cgroup that is being removed
            return None
        raise
    system_cpu, online = parse_system_cpu(Path("/proc/stat").read_text(), os.sysconf("SC_CLK_TCK"))
    return Sample(usage, system_cpu, online, proc.meminfo().get("MemTotal", 0), cgroup.detect().version, networks)


def usage_of(group: Cgroup) -> Usage:
    """Read the counters of a cgroup now."""
    counters = group.usage()
    return Usage(
        read_at=time.time_ns(),
        cpu_total=counters.cpu_total,
        cpu_user=counters.cpu_user,
        cpu_system=counters.cpu_system,
        per_cpu=counters.per_cpu,
        throttled=counters.throttled,
        memory_usage=counters.memory_usage,
        memory_max=counters.memory_max,
        memory_limit=counters.memory_limit,
        memory_failcnt=counters.memory_failcnt,
        memory_stats=counters.memory_stats,
        pids=counters.pids,
        pids_limit=counters.pids_limit,
        blkio=counters.blkio,
    )


def docker_stats(record: ContainerRecord, now: Sample | None, previous: Sample | None = None) -> Json:
    """Return Docker's statistics: of `now`, with the CPU times of `previous`; zeros for a container that is stopped.

    Fields that Go's encoder leaves out when they are zero are left out.
    """
    body: Json = {
        "name": f"/{record.name}",
        "id": record.id,
        "read": _time(now),
        "preread": _time(previous),
        "pids_stats": _pids(now) if now else {},
        "blkio_stats": {name: now.usage.blkio.get(name, []) if now else None for name in _BLKIO},
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(now),
        "precpu_stats": _cpu(previous),
        "memory_stats": _memory(now) if now else {},
    }
    if now and now.networks and record.host_config.network_mode != "host":
        body["networks"] = now.networks
    return body


def parse_system_cpu(text: str, ticks_per_second: int) -> tuple[int, int]:
    """Return the time of all CPUs in ns and their number, from /proc/stat.

    As Docker does, the first seven columns are added (user to softirq: steal and guest are left out).
    """
    lines = text.splitlines()
    ticks = sum(int(column) for column in lines[0].split()[1:8])
    online = sum(line.startswith("cpu") for line in lines) - 1
    return ticks * 1_000_000_000 // ticks_per_second, online


def parse_net_dev(text: str) -> dict[str, dict[str, int]]:
    """Return the counters of each interface but loopback, from /proc/<pid>/net/dev."""
    networks = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        columns = [int(column) for column in rest.split()]
        if name.strip() != "lo" and len(columns) >= 12:
            counters = dict(zip(_NET_RECEIVED, columns[0:4], strict=True))
            networks[name.strip()] = counters | dict(zip(_NET_SENT, columns[8:12], strict=True))
    return networks


def _time(at: Sample | None) -> str:
    return format_rfc3339(at.usage.read_at) if at else _NEVER


def _cpu(at: Sample | None) -> Json:
    usage = at.usage if at else Usage(read_at=0)
    cpu: Json = {"total_usage": usage.cpu_total}
    if usage.per_cpu:
        cpu["percpu_usage"] = usage.per_cpu
    cpu |= {"usage_in_kernelmode": usage.cpu_system, "usage_in_usermode": usage.cpu_user}
    body: Json = {"cpu_usage": cpu}
    if at:
        body |= {"system_cpu_usage": at.system_cpu, "online_cpus": at.online_cpus}
    periods, throttled_periods, throttled_time = usage.throttled
    body["throttling_data"] = {
        "periods": periods,
        "throttled_periods": throttled_periods,
        "throttled_time": throttled_time,
    }
    return body


def _memory(at: Sample) -> Json:
    usage = at.usage
    limit = min(usage.memory_limit, at.host_memory) if at.host_memory else usage.memory_limit
    body = {
        "usage": usage.memory_usage,
        "max_usage": usage.memory_max,
        "stats": usage.memory_stats,
        "failcnt": usage.memory_failcnt,
        "limit": limit,
    }
    return {name: value for name, value in body.items() if value}


def _pids(at: Sample) -> Json:
    limit = at.usage.pids_limit or (_NO_LIMIT if at.cgroup_version == 2 else 0)
    return {name: value for name, value in (("current", at.usage.pids), ("limit", limit)) if value}
