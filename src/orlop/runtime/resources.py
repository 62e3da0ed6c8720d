"""Limits: from ``HostConfig`` to OCI ``linux.resources``, which `orlop.linux.cgroup` writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from orlop.errors import InvalidArgument
from orlop.model.api.container import HostConfig, Resources, ThrottleDevice
from orlop.runtime import devices
from orlop.runtime.facts import HostFacts

__all__ = ["adapt", "for_update", "plan"]

Json = dict[str, Any]
Number = Callable[[str], tuple[int, int]]

NANO_CPU_PERIOD = 100_000  # µs
MIN_CPU_SHARES, MAX_CPU_SHARES = 2, 262_144

_THROTTLES = {
    "throttleReadBpsDevice": "blkio_device_read_bps",
    "throttleWriteBpsDevice": "blkio_device_write_bps",
    "throttleReadIOPSDevice": "blkio_device_read_iops",
    "throttleWriteIOPSDevice": "blkio_device_write_iops",
}


def adapt(host: HostConfig, facts: HostFacts) -> HostConfig:
    """Return `host` as dockerd keeps it: defaults that follow from other limits, without what this kernel cannot do.

    `orlop.runtime.validate.validate` has warned of what is dropped here.
    """
    changes: dict[str, Any] = dict(_unsupported(host, facts))
    if host.cpu_shares > 0 and "cpu_shares" not in changes:
        changes["cpu_shares"] = min(max(host.cpu_shares, MIN_CPU_SHARES), MAX_CPU_SHARES)
    if host.memory > 0 and host.memory_swap == 0 and "memory_swap" not in changes:
        changes["memory_swap"] = 2 * host.memory
    if host.memory_swappiness == -1:
        changes["memory_swappiness"] = None
    if host.oom_kill_disable is None and facts.oom_kill_disable:
        changes["oom_kill_disable"] = False
    return msgspec.structs.replace(host, **changes)


def _unsupported(host: Resources, facts: HostFacts) -> Json:
    """Return the values that stand for "not asked" of the limits that this kernel does not have."""
    dropped: Json = {}
    if not facts.memory_limit and host.memory > 0:
        dropped |= {"memory": 0, "memory_swap": -1}
    elif not facts.swap_limit and host.memory > 0:
        dropped["memory_swap"] = -1
    none: dict[str, tuple[bool, Any]] = {
        "memory_swappiness": (facts.memory_swappiness, None),
        "memory_reservation": (facts.memory_reservation, 0),
        "oom_kill_disable": (facts.oom_kill_disable, None),
        "pids_limit": (facts.pids_limit, None),
        "cpu_shares": (facts.cpu_shares, 0),
        "cpu_period": (facts.cpu_cfs, 0),
        "cpu_quota": (facts.cpu_cfs, 0),
        "cpuset_cpus": (facts.cpuset, ""),
        "cpuset_mems": (facts.cpuset, ""),
        "blkio_weight": (facts.blkio_weight, 0),
        "blkio_weight_device": (facts.blkio_weight, None),
        **dict.fromkeys(_THROTTLES.values(), (facts.blkio_throttle, None)),
    }
    dropped |= {name: value for name, (supported, value) in none.items() if not supported}
    # No kernel of today limits its own memory by cgroup.
    return dropped | {"kernel_memory": 0, "kernel_memory_tcp": 0, "cpu_percent": 0, "cpu_count": 0}


def plan(host: HostConfig, facts: HostFacts, number: Number = devices.number) -> Json:
    """Return ``linux.resources`` without device rules; `number` gives a block device's major and minor number.

    Raises `InvalidArgument` for a block device that is not there.
    """
    host = adapt(host, facts)
    resources = {
        "memory": _memory(host),
        "cpu": _cpu(host),
        "blockIO": _block_io(host, number),
        "pids": _pids(host),
    }
    return {name: limits for name, limits in resources.items() if limits}


def for_update(host: HostConfig, facts: HostFacts) -> Json:
    """Return the limits to write to a running container's cgroup after `host` was changed."""
    resources = plan(host, facts)
    # Whether the kernel kills is decided once, when the cgroup is made.
    resources.get("memory", {}).pop("disableOOMKiller", None)
    return resources


def _memory(host: HostConfig) -> Json:
    memory: Json = {}
    if host.memory > 0:
        memory["limit"] = host.memory
    if host.memory_reservation > 0:
        memory["reservation"] = host.memory_reservation
    if host.memory_swap > 0 or (host.memory_swap == -1 and host.memory > 0):
        memory["swap"] = host.memory_swap
    if host.memory_swappiness is not None:
        memory["swappiness"] = host.memory_swappiness
    if host.oom_kill_disable:
        memory["disableOOMKiller"] = True
    return memory


def _cpu(host: HostConfig) -> Json:
    cpu: Json = {}
    if host.nano_cpus > 0:
        cpu["period"] = NANO_CPU_PERIOD
        cpu["quota"] = host.nano_cpus * NANO_CPU_PERIOD // 1_000_000_000
    values = {
        "shares": host.cpu_shares,
        "period": host.cpu_period,
        "quota": host.cpu_quota,
        "realtimePeriod": host.cpu_realtime_period,
        "realtimeRuntime": host.cpu_realtime_runtime,
        "cpus": host.cpuset_cpus,
        "mems": host.cpuset_mems,
    }
    return cpu | {name: value for name, value in values.items() if value}


def _pids(host: HostConfig) -> Json:
    if host.pids_limit is None:
        return {}
    return {"limit": host.pids_limit if host.pids_limit > 0 else -1}


def _block_io(host: HostConfig, number: Number) -> Json:
    block: Json = {}
    if host.blkio_weight:
        block["weight"] = host.blkio_weight
    if host.blkio_weight_device:
        block["weightDevice"] = [
            {**_numbers(device.path, number), "weight": device.weight} for device in host.blkio_weight_device
        ]
    for key, field in _THROTTLES.items():
        asked: list[ThrottleDevice] | None = getattr(host, field)
        if asked:
            block[key] = [{**_numbers(device.path, number), "rate": device.rate} for device in asked]
    return block


def _numbers(path: str, number: Number) -> Json:
    try:
        major, minor = number(path)
    except OSError as error:
        raise InvalidArgument(f"stat {path}: {(error.strerror or '').lower()}") from error
    return {"major": major, "minor": minor}
