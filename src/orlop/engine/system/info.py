"""`GET /info`: what this engine is, holds and can do, in the shape of API 1.51."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from collections import Counter
from ipaddress import IPv4Network, collapse_addresses
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from orlop.engine.system.version import DOCKER_VERSION
from orlop.formats.duration import format_rfc3339
from orlop.network.ipam import default_pools
from orlop.runtime.facts import HostFacts

if TYPE_CHECKING:
    from orlop.engine.config import EngineConfig
    from orlop.engine.engine import Engine

__all__ = ["info", "security_options", "warnings"]

Json = dict[str, Any]

LOG_DRIVERS = ["json-file", "local", "none"]


async def info(engine: Engine) -> Json:
    """Return everything that `docker info` shows."""
    return (
        _counts(engine)
        | _storage(engine.config.data_root)
        | _limits(engine.facts)
        | _daemon(engine)
        | _host(engine.facts)
        | {
            "Plugins": {
                "Volume": ["local"],
                "Network": ["bridge", "host", "null"],
                "Authorization": None,
                "Log": LOG_DRIVERS,
            },
            "RegistryConfig": _registries(engine.config),
            "Swarm": {
                "NodeID": "",
                "NodeAddr": "",
                "LocalNodeState": "inactive",
                "ControlAvailable": False,
                "Error": "",
                "RemoteManagers": None,
            },
            "SecurityOptions": security_options(engine.config, engine.facts),
            "DefaultAddressPools": _address_pools(),
            "FirewallBackend": {"Driver": "nftables"},
            "CDISpecDirs": [],
            "DiscoveredDevices": [],
            "Warnings": warnings(engine.facts) or None,
        }
    )


def _counts(engine: Engine) -> Json:
    states = Counter(container.state.status for container in engine.containers)
    running = states["running"] + states["restarting"]
    return {
        # The same for the life of a data root.
        "ID": str(uuid.uuid5(uuid.NAMESPACE_OID, f"orlop:{engine.instance}")),
        "Containers": len(engine.containers),
        "ContainersRunning": running,
        "ContainersPaused": states["paused"],
        "ContainersStopped": len(engine.containers) - running - states["paused"],
        "Images": sum(1 for _ in engine.images),
    }


def _storage(data_root: Path) -> Json:
    return {
        "Driver": "overlay2",
        "DriverStatus": [
            ["Backing Filesystem", _filesystem(data_root)],
            ["Supports d_type", "true"],
            ["Using metacopy", "false"],
            ["Native Overlay Diff", "true"],
            ["userxattr", "false"],
        ],
        "DockerRootDir": str(data_root),
    }


def _limits(facts: HostFacts) -> Json:
    return {
        "MemoryLimit": facts.memory_limit,
        "SwapLimit": facts.swap_limit,
        "CpuCfsPeriod": facts.cpu_cfs,
        "CpuCfsQuota": facts.cpu_cfs,
        "CPUShares": facts.cpu_shares,
        "CPUSet": facts.cpuset,
        "PidsLimit": facts.pids_limit,
        "IPv4Forwarding": _ipv4_forwarding(),
        "OomKillDisable": facts.oom_kill_disable,
        "CgroupDriver": facts.cgroup_driver,
        "CgroupVersion": str(facts.cgroup_version),
    }


def _daemon(engine: Engine) -> Json:
    config = engine.config
    runtime = {"path": "orlop"}
    return {
        "Debug": config.debug,
        "NFd": len(os.listdir("/proc/self/fd")) if config.debug else 0,
        "NGoroutines": len(asyncio.all_tasks()) + threading.active_count() if config.debug else 0,
        "SystemTime": format_rfc3339(time.time_ns()),
        "LoggingDriver": config.log_driver,
        "NEventsListener": engine.events.listeners,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "GenericResources": None,
        "HttpProxy": _proxy("HTTP_PROXY"),
        "HttpsProxy": _proxy("HTTPS_PROXY"),
        "NoProxy": _environment("NO_PROXY"),
        "Labels": list(config.labels),
        "ExperimentalBuild": False,
        "ServerVersion": DOCKER_VERSION,
        "Runtimes": {"orlop": runtime, "runc": runtime},
        "DefaultRuntime": "runc",
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": config.init_path or "docker-init",
        "ContainerdCommit": {"ID": "N/A"},
        "RuncCommit": {"ID": "N/A"},
        "InitCommit": {"ID": "N/A"},
    }


def _host(facts: HostFacts) -> Json:
    return {
        "Name": facts.hostname,
        "KernelVersion": facts.kernel_version,
        "OperatingSystem": facts.operating_system,
        "OSVersion": facts.os_version,
        "OSType": "linux",
        "Architecture": facts.architecture,
        "NCPU": facts.cpus,
        "MemTotal": facts.memory,
    }


def security_options(config: EngineConfig, facts: HostFacts) -> list[str]:
    """Return what confines containers by default here."""
    options = []
    if facts.apparmor:
        options.append("name=apparmor")
    if facts.seccomp:
        options.append(f"name=seccomp,profile={config.seccomp_profile or 'builtin'}")
    if facts.cgroup_namespaces:
        options.append("name=cgroupns")
    if config.no_new_privileges:
        options.append("name=no-new-privileges")
    return options


def warnings(facts: HostFacts) -> list[str]:
    """Return what is missing on this machine, in dockerd's words."""
    needed = [
        (facts.memory_limit, "No memory limit support"),
        (facts.swap_limit or not facts.memory_limit, "No swap limit support"),
        (facts.oom_kill_disable or facts.cgroup_version == 2, "No oom kill disable support"),
        (facts.cpu_cfs, "No cpu cfs quota support"),
        (facts.cpu_cfs, "No cpu cfs period support"),
        (facts.cpu_shares, "No cpu shares support"),
        (facts.cpuset, "No cpuset support"),
        (facts.pids_limit, "No pids limit support"),
        (facts.blkio_weight or facts.cgroup_version == 1, "No io.weight support"),
        (facts.blkio_throttle or facts.cgroup_version == 1, "No io.max (rbps) support"),
        (_ipv4_forwarding(), "IPv4 forwarding is disabled"),
    ]
    return [f"WARNING: {text}" for good, text in needed if not good]


def _registries(config: EngineConfig) -> Json:
    names = {
        name: {"Name": name, "Mirrors": [], "Secure": False, "Official": False}
        for name in config.insecure_registries
        if "/" not in name
    }
    mirrors = list(config.registry_mirrors)
    hub = {"docker.io": {"Name": "docker.io", "Mirrors": mirrors, "Secure": True, "Official": True}}
    return {
        "InsecureRegistryCIDRs": [
            *("::1/128", "127.0.0.0/8"),
            *(network for network in config.insecure_registries if "/" in network),
        ],
        "IndexConfigs": hub | names,
        "Mirrors": mirrors,
    }


def _address_pools() -> list[Json]:
    """Return the ranges that subnets are taken from, neighbours joined, with the size of a subnet."""
    sizes: dict[int, list[IPv4Network]] = {}
    for pool in default_pools():
        sizes.setdefault(pool.prefixlen, []).append(pool)
    return [{"Base": str(base), "Size": size} for size, pools in sizes.items() for base in collapse_addresses(pools)]


def _ipv4_forwarding() -> bool:
    """Read it now: publishing the first port turns it on, and an administrator may turn it off."""
    path = Path("/proc/sys/net/ipv4/ip_forward")
    return path.exists() and path.read_text().strip() == "1"


def _environment(name: str) -> str:
    return os.environ.get(name) or os.environ.get(name.lower()) or ""


def _proxy(name: str) -> str:
    """Return a proxy's address without its password."""
    address = _environment(name)
    parts = urlsplit(address)
    if not parts.username:
        return address
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"xxxxx:xxxxx@{place}"))


def _filesystem(path: Path) -> str:
    """Return the type of the file system that holds `path`, as Docker calls it."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split()[2] == wanted:
            kind = rest.split()[0]
            return "extfs" if kind.startswith("ext") else kind
    return "unknown"
