"""Check limits as dockerd does: what is wrong is refused, what this kernel cannot do is warned of."""

from __future__ import annotations

from orlop.errors import InvalidArgument
from orlop.model.api.container import Resources
from orlop.runtime.facts import HostFacts, available

__all__ = ["MIN_MEMORY", "check"]

MIN_MEMORY = 6 << 20
_DISCARDED = "or the cgroup is not mounted."


def check(limits: Resources, facts: HostFacts, *, update: bool = False) -> list[str]:
    """Return warnings. Raises `InvalidArgument`."""
    warnings: list[str] = []
    _memory(limits, facts, warnings, update)
    _oom_and_pids(limits, facts, warnings)
    _cpu(limits, facts, warnings)
    _realtime(limits, facts)
    _cpuset(limits, facts, warnings)
    _block_io(limits, facts, warnings)
    return warnings


def _memory(limits: Resources, facts: HostFacts, warnings: list[str], update: bool) -> None:
    memory, swap = limits.memory, limits.memory_swap
    if memory != 0 and memory < MIN_MEMORY:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if memory > 0 and not facts.memory_limit:
        warnings.append(f"Your kernel does not support memory limit capabilities {_DISCARDED} Limitation discarded.")
        memory, swap = 0, -1
    if memory > 0 and swap != -1 and not facts.swap_limit:
        warnings.append(
            f"Your kernel does not support swap limit capabilities {_DISCARDED} Memory limited without swap."
        )
        swap = -1
    if memory > 0 and 0 < swap < memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory == 0 and swap > 0 and not update:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    swappiness = None if limits.memory_swappiness == -1 else limits.memory_swappiness
    if swappiness is not None and not facts.memory_swappiness:
        warnings.append(
            f"Your kernel does not support memory swappiness capabilities {_DISCARDED} Memory swappiness discarded."
        )
    elif swappiness is not None and not 0 <= swappiness <= 100:
        raise InvalidArgument(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    reservation = limits.memory_reservation
    if reservation > 0 and not facts.memory_reservation:
        warnings.append(
            f"Your kernel does not support memory soft limit capabilities {_DISCARDED} Limitation discarded."
        )
        reservation = 0
    if 0 < reservation < MIN_MEMORY:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if 0 < memory < reservation:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")
    if limits.kernel_memory > 0 or limits.kernel_memory_tcp > 0:
        warnings.append(
            f"Your kernel does not support kernel memory limit capabilities {_DISCARDED} Limitation discarded."
        )


def _oom_and_pids(limits: Resources, facts: HostFacts, warnings: list[str]) -> None:
    if limits.oom_kill_disable and not facts.oom_kill_disable:
        warnings.append("Your kernel does not support OomKillDisable. OomKillDisable discarded.")
    elif limits.oom_kill_disable and limits.memory == 0:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, "
            "this can result in the system running out of resources."
        )
    if (limits.pids_limit or 0) > 0 and not facts.pids_limit:
        warnings.append(f"Your kernel does not support PIDs limit capabilities {_DISCARDED} PIDs limit discarded.")


def _cpu(limits: Resources, facts: HostFacts, warnings: list[str]) -> None:
    if limits.nano_cpus > 0 and limits.cpu_period > 0:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if limits.nano_cpus > 0 and limits.cpu_quota > 0:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if limits.nano_cpus > 0 and not facts.cpu_cfs:
        raise InvalidArgument(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted"
        )
    if not 0 <= limits.nano_cpus <= facts.cpus * 1_000_000_000:
        raise InvalidArgument(
            f"Range of CPUs is from 0.01 to {facts.cpus}.00, as there are only {facts.cpus} CPUs available"
        )
    if limits.cpu_shares < 0:
        raise InvalidArgument(f"invalid CPU shares ({limits.cpu_shares}): value must be a positive integer")
    if limits.cpu_shares > 0 and not facts.cpu_shares:
        warnings.append("Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.")
    if (limits.cpu_period or limits.cpu_quota) and not facts.cpu_cfs:
        warnings.append("Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.")
    elif limits.cpu_period and not 1000 <= limits.cpu_period <= 1_000_000:
        raise InvalidArgument("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    elif 0 < limits.cpu_quota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if limits.cpu_percent > 0:
        warnings.append("linux does not support CPU percent. Percent discarded.")
    if limits.cpu_count > 0:
        warnings.append("linux does not support CPU count. Count discarded.")


def _realtime(limits: Resources, facts: HostFacts) -> None:
    period, runtime = limits.cpu_realtime_period, limits.cpu_realtime_runtime
    if (period or runtime) and not facts.cpu_realtime:
        raise InvalidArgument("kernel does not support CPU real-time scheduler")
    if period and runtime and runtime > period:
        raise InvalidArgument("cpu real-time runtime cannot be higher than cpu real-time period")


def _cpuset(limits: Resources, facts: HostFacts, warnings: list[str]) -> None:
    if (limits.cpuset_cpus or limits.cpuset_mems) and not facts.cpuset:
        warnings.append("Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.")
        return
    kinds = (
        ("cpuset cpus", "CPUs", limits.cpuset_cpus, facts.cpuset_cpus),
        ("cpuset mems", "memory nodes", limits.cpuset_mems, facts.cpuset_mems),
    )
    for name, what, wanted, having in kinds:
        try:
            fits = available(wanted, having)
        except ValueError as error:
            raise InvalidArgument(f"Invalid value {wanted} for {name}: {error}") from error
        if not fits:
            raise InvalidArgument(f"Requested {what} are not available - requested {wanted}, available: {having}")


def _block_io(limits: Resources, facts: HostFacts, warnings: list[str]) -> None:
    if limits.blkio_weight > 0 and not facts.blkio_weight:
        warnings.append("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.")
    elif limits.blkio_weight and not 10 <= limits.blkio_weight <= 1000:
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")
    if limits.io_maximum_bandwidth or limits.io_maximum_iops:
        raise InvalidArgument("Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps")
    if limits.blkio_weight_device and not facts.blkio_weight:
        warnings.append(f"Your kernel does not support Block I/O weight_device {_DISCARDED} Weight-device discarded.")
    throttles = (
        (limits.blkio_device_read_bps, "BPS Block I/O read limit", "BPS read"),
        (limits.blkio_device_write_bps, "BPS Block I/O write limit", "BPS write"),
        (limits.blkio_device_read_iops, "IOPS Block read limit", "IOPS read"),
        (limits.blkio_device_write_iops, "IOPS Block write limit", "IOPS write"),
    )
    for asked, feature, short in throttles:
        if asked and not facts.blkio_throttle:
            warnings.append(f"Your kernel does not support {feature} {_DISCARDED} Block I/O {short} limit discarded.")
        for device in asked or ():
            if not 0 <= device.rate < 1 << 64:
                raise InvalidArgument(f"invalid rate for device: {device.path}:{device.rate}")
