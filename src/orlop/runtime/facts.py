"""What this machine is and what its kernel can do: read once, cheaply, when the daemon starts (and for `/info`)."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orlop.linux import capability, cgroup, proc
from orlop.linux.cgroup.files import first_line
from orlop.runtime import apparmor

__all__ = ["HostFacts", "available", "parse_os_release", "parse_release", "read_facts"]

DEFAULT_CPUS = "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """The machine. A limit that is False here is one that a container cannot be given."""

    hostname: str = ""
    architecture: str = "x86_64"  # uname -m
    kernel_version: str = ""  # uname -r
    kernel: tuple[int, int] = (0, 0)
    operating_system: str = ""
    os_version: str = ""
    cpus: int = 1
    memory: int = 0  # bytes
    boot_id: str = ""

    cgroup_version: int = 2
    cgroup_driver: str = "cgroupfs"
    controllers: frozenset[str] = frozenset()
    cgroup_namespaces: bool = True
    memory_limit: bool = True
    swap_limit: bool = True
    memory_reservation: bool = True
    memory_swappiness: bool = True  # v1 alone
    oom_kill_disable: bool = True  # v1 alone
    pids_limit: bool = True
    cpu_shares: bool = True
    cpu_cfs: bool = True  # period and quota
    cpu_realtime: bool = False
    cpuset: bool = True
    cpuset_cpus: str = DEFAULT_CPUS  # a list as cpuset(7) writes it: 0-3,8
    cpuset_mems: str = "0"
    blkio_weight: bool = False
    blkio_throttle: bool = True

    capabilities: frozenset[str] = frozenset(capability.NAMES)  # the daemon's bounding set: no container gets more
    seccomp: bool = True
    apparmor: bool = False  # the kernel has it, and the default profile is loaded
    selinux: bool = False
    recursive_readonly: bool = True  # mount_setattr(2), kernel 5.12
    thermal_paths: tuple[str, ...] = ()  # counters that tell a container what its neighbours compute

    ipv4_forwarding: bool = True  # at the time of reading: the engine's own network may turn it on
    bridge_nf_iptables: bool = True
    bridge_nf_ip6tables: bool = True
    sysctls: frozenset[str] = frozenset()  # of those that containers get by default, the ones that exist


def read_facts() -> HostFacts:
    """Read the facts from /proc, /sys and uname(2). Raises `FileNotFoundError` without any cgroup mount."""
    host = cgroup.detect()
    system = platform.uname()
    release = parse_os_release(_text("/etc/os-release"))
    version_id = release.get("VERSION_ID", "")
    return HostFacts(
        hostname=os.uname().nodename,
        architecture=system.machine,
        kernel_version=system.release,
        kernel=parse_release(system.release),
        operating_system=release.get("PRETTY_NAME", "Linux"),
        os_version=version_id,
        cpus=len(os.sched_getaffinity(0)),
        memory=proc.meminfo().get("MemTotal", 0),
        boot_id=proc.boot_id(),
        cgroup_version=host.version,
        controllers=host.controllers,
        cgroup_namespaces=os.path.exists("/proc/self/ns/cgroup"),
        cpuset_cpus=_cpuset(host, "cpus"),
        cpuset_mems=_cpuset(host, "mems"),
        capabilities=capability.bounding(),
        seccomp=os.path.exists("/proc/sys/kernel/seccomp/actions_avail"),
        apparmor=apparmor.enabled() and apparmor.loaded(),
        selinux=os.path.exists("/sys/fs/selinux/enforce"),
        recursive_readonly=parse_release(system.release) >= (5, 12),
        thermal_paths=_thermal_paths(),
        ipv4_forwarding=_enabled("net/ipv4/ip_forward"),
        bridge_nf_iptables=_enabled("net/bridge/bridge-nf-call-iptables"),
        bridge_nf_ip6tables=_enabled("net/bridge/bridge-nf-call-ip6tables"),
        sysctls=frozenset(name for name in _DEFAULT_SYSCTLS if os.path.exists(_sysctl_path(name))),
        **(_limits_v1(host) if host.version == 1 else _limits_v2(host)),
    )


_DEFAULT_SYSCTLS = ("net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range")


def _limits_v1(host: cgroup.CgroupHost) -> dict[str, Any]:
    def has(controller: str, file: str) -> bool:
        root = host.root(controller)
        return bool(root) and os.path.exists(f"{root}/{file}")

    return {
        "memory_limit": bool(host.root("memory")),
        "swap_limit": has("memory", "memory.memsw.limit_in_bytes"),
        "memory_reservation": has("memory", "memory.soft_limit_in_bytes"),
        "memory_swappiness": has("memory", "memory.swappiness"),
        "oom_kill_disable": has("memory", "memory.oom_control"),
        "pids_limit": bool(host.root("pids")),
        "cpu_shares": has("cpu", "cpu.shares"),
        "cpu_cfs": has("cpu", "cpu.cfs_quota_us"),
        "cpu_realtime": has("cpu", "cpu.rt_runtime_us"),
        "cpuset": bool(host.root("cpuset")),
        # The root has no BFQ weight of its own, only its counters.
        "blkio_weight": has("blkio", "blkio.weight") or has("blkio", "blkio.bfq.io_service_bytes"),
        "blkio_throttle": has("blkio", "blkio.throttle.read_bps_device"),
    }


def _limits_v2(host: cgroup.CgroupHost) -> dict[str, Any]:
    return {
        "memory_limit": "memory" in host.controllers,
        "swap_limit": "memory" in host.controllers and _below_root(host.unified, "memory.swap.max"),
        "memory_reservation": "memory" in host.controllers,
        "memory_swappiness": False,
        "oom_kill_disable": False,
        "pids_limit": "pids" in host.controllers,
        "cpu_shares": "cpu" in host.controllers,
        "cpu_cfs": "cpu" in host.controllers,
        "cpu_realtime": False,
        "cpuset": "cpuset" in host.controllers,
        "blkio_weight": "io" in host.controllers,
        "blkio_throttle": "io" in host.controllers,
    }


def _thermal_paths() -> tuple[str, ...]:
    paths = (f"/sys/devices/system/cpu/cpu{number}/thermal_throttle" for number in range(os.cpu_count() or 1))
    return tuple(path for path in paths if os.path.exists(path))


def _below_root(root: str, file: str) -> bool:
    """Say whether a cgroup below the root has `file`, which the root lacks; without any to look at, it is assumed."""
    with os.scandir(root) as entries:
        children = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    enabled = [child for child in children if os.path.exists(f"{child}/memory.max")]
    return not enabled or any(os.path.exists(f"{child}/{file}") for child in enabled)


def _cpuset(host: cgroup.CgroupHost, kind: str) -> str:
    root = host.root("cpuset")
    if not root:
        return DEFAULT_CPUS
    names = (f"cpuset.effective_{kind}",) if host.version == 1 else (f"cpuset.{kind}.effective",)
    for name in (*names, f"cpuset.{kind}"):
        if text := first_line(root, name):
            return text
    return DEFAULT_CPUS


def parse_release(release: str) -> tuple[int, int]:
    """Return the version of a kernel release.

    >>> parse_release("6.1.0-21-cloud-amd64")
    (6, 1)
    """
    numbers = []
    for part in release.split(".")[:2]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        numbers.append(int(digits) if digits else 0)
    return numbers[0], numbers[1] if len(numbers) > 1 else 0


def parse_os_release(text: str) -> dict[str, str]:
    """Return the fields of an os-release(5) file."""
    fields = {}
    for line in text.splitlines():
        name, separator, value = line.strip().partition("=")
        if separator and not name.startswith("#"):
            fields[name] = value.strip("\"'")
    return fields


def available(wanted: str, having: str) -> bool:
    """Say whether every number of the list `wanted` is in `having` (``0-2,7``). Raises `ValueError` for no list."""
    return parse_list(wanted) <= parse_list(having)


def parse_list(text: str, maximum: int = 8192) -> frozenset[int]:
    """Return the numbers of a list as cpuset(7) writes it. Raises `ValueError`."""
    numbers: set[int] = set()
    for part in text.split(",") if text else ():
        first, dash, last = part.strip().partition("-")
        if not text.isascii() or not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(f"invalid format: {text}")
        low, high = int(first), int(last or first)
        if low > high:
            raise ValueError(f"invalid format: {text}")
        if high > maximum:
            raise ValueError(f"value of out range, maximum is {maximum}")
        numbers.update(range(low, high + 1))
    return frozenset(numbers)


def _sysctl_path(name: str) -> str:
    return "/proc/sys/" + name.replace(".", "/")


def _enabled(path: str) -> bool:
    return _text(f"/proc/sys/{path}").strip() == "1"


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
