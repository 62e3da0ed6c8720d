"""The body of a create request, from the flags; every contradiction that docker's client finds is found here."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from orlop.cli.create import values
from orlop.cli.create.files import read_pairs
from orlop.cli.create.mounts import parse_tmpfs, parse_volumes
from orlop.cli.create.networks import endpoints
from orlop.cli.create.ports import expose, parse_ports
from orlop.cli.flags import Options
from orlop.formats.template import go_quote

__all__ = ["create_body"]

Json = dict[str, Any]


def create_body(options: Options, image: str, arguments: Sequence[str]) -> Json:
    """Return the body for an image and its command; raise ValueError with docker's message."""
    if options.mac_address and not values.is_mac_address(options.mac_address):
        raise ValueError(f"{options.mac_address} is not a valid mac address")
    if options.memory_swappiness != -1 and not 0 <= options.memory_swappiness <= 100:
        raise ValueError(f"invalid value: {options.memory_swappiness}. Valid memory swappiness range is 0-100")
    binds, volumes = parse_volumes(options.volume)
    exposed, bindings = parse_ports(options.publish)
    expose(options.expose, exposed)
    config = _config(options, image, arguments)
    config["Volumes"] = volumes
    config["ExposedPorts"] = exposed
    host = _host_config(options)
    host["Binds"] = binds or None
    host["PortBindings"] = bindings
    if options.rm and host["RestartPolicy"]["Name"] not in ("", "no"):
        raise ValueError("conflicting options: cannot specify both --restart and --rm")
    networks = endpoints(options)
    return {**config, "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": networks}}


def _config(options: Options, image: str, arguments: Sequence[str]) -> Json:
    everything = not options.attach
    stdin = options.interactive or "stdin" in options.attach
    config: Json = {
        "Hostname": options.hostname,
        "Domainname": options.domainname,
        "User": options.user,
        "AttachStdin": stdin,
        "AttachStdout": everything or "stdout" in options.attach,
        "AttachStderr": everything or "stderr" in options.attach,
        "Tty": options.tty,
        "OpenStdin": options.interactive,
        "StdinOnce": options.interactive and stdin,
        "Env": _pairs(options.env_file, options.env, from_environment=True) or None,
        "Cmd": list(arguments) or None,
        "Image": image,
        "WorkingDir": options.workdir,
        "Entrypoint": [options.entrypoint] if options.entrypoint or options.given("entrypoint") else None,
        "OnBuild": None,
        "Labels": _mapping(_pairs(options.label_file, options.label, from_environment=False)),
        "StopSignal": options.stop_signal,
    }
    if options.given("stop-timeout"):
        config["StopTimeout"] = options.stop_timeout
    if (health := _health(options)) is not None:
        config["Healthcheck"] = health
    return config


def _pairs(files: Sequence[str], given: Sequence[str], *, from_environment: bool) -> list[str]:
    return [*(pair for path in files for pair in read_pairs(path, from_environment=from_environment)), *given]


def _mapping(pairs: Sequence[str]) -> dict[str, str]:
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _health(options: Options) -> Json | None:
    times = {
        "Interval": options.health_interval,
        "Timeout": options.health_timeout,
        "Retries": options.health_retries,
        "StartPeriod": options.health_start_period,
        "StartInterval": options.health_start_interval,
    }
    wanted = bool(options.health_cmd) or any(times.values())
    if options.no_healthcheck:
        if wanted:
            raise ValueError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    if not wanted:
        return None
    for flag in ("interval", "timeout", "retries", "start-period", "start-interval"):
        if getattr(options, f"health_{flag.replace('-', '_')}") < 0:
            raise ValueError(f"--health-{flag} cannot be negative")
    health = {key: value for key, value in times.items() if value}
    return {"Test": ["CMD-SHELL", options.health_cmd], **health} if options.health_cmd else health


def _host_config(options: Options) -> Json:
    _check_namespaces(options)
    restart = values.restart_policy(options.restart)
    log_options = _log_options(options)
    security, unconfined_paths = _security(options.security_opt)
    storage = _storage(options.storage_opt)
    host: Json = {
        "ContainerIDFile": options.cidfile,
        "LogConfig": {"Type": options.log_driver, "Config": log_options},
        "NetworkMode": options.network[0]["name"] if options.network else "default",
        "RestartPolicy": restart,
        "AutoRemove": options.rm,
        "VolumeDriver": options.volume_driver,
        "VolumesFrom": options.volumes_from or None,
        "ConsoleSize": [0, 0],
        "CapAdd": _capabilities(options.cap_add),
        "CapDrop": _capabilities(options.cap_drop),
        "CgroupnsMode": options.cgroupns,
        "Dns": options.dns,
        "DnsOptions": options.dns_option,
        "DnsSearch": options.dns_search,
        "ExtraHosts": options.add_host or None,
        "GroupAdd": options.group_add or None,
        "IpcMode": options.ipc,
        "Links": options.link or None,
        "OomScoreAdj": options.oom_score_adj,
        "PidMode": options.pid,
        "Privileged": options.privileged,
        "PublishAllPorts": options.publish_all,
        "ReadonlyRootfs": options.read_only,
        "SecurityOpt": security or None,
        "UTSMode": options.uts,
        "UsernsMode": options.userns,
        "ShmSize": options.shm_size,
        "Isolation": options.isolation,
        **_resources(options),
    }
    optional = {
        "Annotations": options.annotation,
        "Mounts": options.mount,
        "Runtime": options.runtime,
        "StorageOpt": storage,
        "Sysctls": options.sysctl,
        "Tmpfs": parse_tmpfs(options.tmpfs),
    }
    host.update({key: value for key, value in optional.items() if value})
    if options.given("init"):
        host["Init"] = options.init
    if unconfined_paths:
        host["MaskedPaths"] = []
        host["ReadonlyPaths"] = []
    return host


def _capabilities(names: Sequence[str]) -> list[str] | None:
    """Return capabilities by their full names, each once and in order."""
    whole = {name if name == "ALL" else f"CAP_{name.removeprefix('CAP_')}" for name in map(str.upper, names)}
    return sorted(whole) or None


def _resources(options: Options) -> Json:
    devices, requests = _devices(options)
    return {
        "CpuShares": options.cpu_shares,
        "Memory": options.memory,
        "NanoCpus": options.cpus,
        "CgroupParent": options.cgroup_parent,
        "BlkioWeight": options.blkio_weight,
        "BlkioWeightDevice": options.blkio_weight_device,
        "BlkioDeviceReadBps": options.device_read_bps,
        "BlkioDeviceWriteBps": options.device_write_bps,
        "BlkioDeviceReadIOps": options.device_read_iops,
        "BlkioDeviceWriteIOps": options.device_write_iops,
        "CpuPeriod": options.cpu_period,
        "CpuQuota": options.cpu_quota,
        "CpuRealtimePeriod": options.cpu_rt_period,
        "CpuRealtimeRuntime": options.cpu_rt_runtime,
        "CpusetCpus": options.cpuset_cpus,
        "CpusetMems": options.cpuset_mems,
        "Devices": devices,
        "DeviceCgroupRules": options.device_cgroup_rule or None,
        "DeviceRequests": requests or None,
        "MemoryReservation": options.memory_reservation,
        "MemorySwap": options.memory_swap,
        "MemorySwappiness": options.memory_swappiness,
        "OomKillDisable": options.oom_kill_disable,
        "PidsLimit": options.pids_limit,
        "Ulimits": [options.ulimit[name] for name in sorted(options.ulimit)],
        "CpuCount": options.cpu_count,
        "CpuPercent": options.cpu_percent,
        "IOMaximumIOps": options.io_maxiops,
        "IOMaximumBandwidth": options.io_maxbandwidth,
    }


_CDI_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*/[A-Za-z0-9_-]+=\S+")


def _devices(options: Options) -> tuple[list[Json], list[Json]]:
    """Return the devices of the host, and the requests for those that a driver makes (GPUs, CDI names)."""
    named = [text for text in options.device if _CDI_NAME.fullmatch(text)]
    devices = [values.device(text) for text in options.device if text not in named]
    requests = list(options.gpus)
    if named:
        requests.append({"Driver": "cdi", "DeviceIDs": named})
    return devices, requests


def _check_namespaces(options: Options) -> None:
    if options.pid not in ("", "host") and not options.pid.removeprefix("container:"):
        raise ValueError("--pid: invalid PID mode")
    if options.pid not in ("", "host") and not options.pid.startswith("container:"):
        raise ValueError("--pid: invalid PID mode")
    if options.uts not in ("", "host"):
        raise ValueError("--uts: invalid UTS mode")
    if options.userns not in ("", "host"):
        raise ValueError("--userns: invalid USER mode")
    if options.cgroupns not in ("", "private", "host"):
        raise ValueError("--cgroupns: invalid CGROUP mode")


def _log_options(options: Options) -> dict[str, str]:
    if options.log_driver == "none" and options.log_opt:
        raise ValueError("invalid logging opts for driver none")
    return _mapping(options.log_opt)


def _security(given: Sequence[str]) -> tuple[list[str], bool]:
    """Return the options for the daemon, profiles read in, and whether system paths are to be left open."""
    kept: list[str] = []
    for option in given:
        key, separator, value = option.partition("=")
        if not separator and key != "no-new-privileges":
            key, separator, value = option.partition(":")
        if key != "no-new-privileges" and not value:
            raise ValueError(f"Invalid --security-opt: {go_quote(option)}")
        if key == "seccomp" and value not in ("builtin", "unconfined"):
            option = f"seccomp={_profile(value)}"
        kept.append(option)
    return [option for option in kept if option != "systempaths=unconfined"], "systempaths=unconfined" in kept


def _profile(path: str) -> str:
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except OSError as error:
        reason = f"open {path}: {(error.strerror or '').lower()}"
        raise ValueError(f"opening seccomp profile ({path}) failed: {reason}") from None
    try:
        return json.dumps(json.loads(raw), separators=(",", ":"), ensure_ascii=False)
    except ValueError as error:
        raise ValueError(f"compacting json for seccomp profile ({path}) failed: {error}") from None


def _storage(given: Sequence[str]) -> dict[str, str]:
    if any("=" not in option for option in given):
        raise ValueError("invalid storage option")
    return _mapping(given)
