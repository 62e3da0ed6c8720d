"""`GET /containers/{id}/json`: everything that is known of a container, in Docker's shape."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from orlop.engine.containers import links, places
from orlop.engine.containers.registry import Container
from orlop.formats.duration import format_rfc3339
from orlop.model.api.container import EndpointSettings, HostConfig, Resources
from orlop.model.record import ContainerRecord, EndpointRecord, MountRecord
from orlop.volume.resolve import clean_path

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["endpoint_settings", "inspect", "mount_points"]

Json = dict[str, Any]
NEVER = "0001-01-01T00:00:00Z"


async def inspect(engine: Engine, ref: str, *, size: bool = False) -> Json:
    """Return the full description; with `size` also the bytes of its own files and of all its files."""
    container = engine.containers.resolve(ref)
    record = container.record
    directory = engine.directory(record.id)
    answer: Json = {
        "Id": record.id,
        "Created": format_rfc3339(record.created_at),
        "Path": record.path,
        "Args": list(record.args),
        "State": state(container),
        "Image": record.image_id,
        "ResolvConfPath": _path(directory / "resolv.conf", container),
        "HostnamePath": _path(directory / "hostname", container),
        "HostsPath": _path(directory / "hosts", container),
        "LogPath": places.log_target(engine, record.id, record.host_config.log_config).directory or "",
        "Name": f"/{record.name}",
        "RestartCount": record.restart_count,
        "Driver": "overlay2",
        "Platform": record.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": _apparmor(engine, record),
        "ExecIDs": [key for key, instance in container.execs.items() if instance.running] or None,
        "HostConfig": host_config(record.host_config) | {"Links": links.shown(engine, record)},
        "GraphDriver": {"Data": engine.snapshots.describe(record.id), "Name": "overlay2"},
        "Mounts": mount_points(record),
        "Config": _config(record),
        "NetworkSettings": network_settings(engine, record),
    }
    if size:
        own, whole = await asyncio.to_thread(engine.snapshots.sizes, record.id)
        answer["SizeRw"], answer["SizeRootFs"] = own, whole
    return answer


def state(container: Container) -> Json:
    """Return Docker's state object."""
    now = container.state
    status = now.status
    answer: Json = {
        "Status": status,
        "Running": status in ("running", "paused", "restarting"),
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": now.oom_killed,
        "Dead": status == "dead",
        "Pid": now.pid,
        "ExitCode": now.exit_code,
        "Error": now.error,
        "StartedAt": format_rfc3339(now.started_at) if now.started_at else NEVER,
        "FinishedAt": format_rfc3339(now.finished_at) if now.finished_at else NEVER,
    }
    if container.health:
        answer["Health"] = container.health.json()
    return answer


def mount_point(mount: MountRecord) -> Json:
    """Return Docker's description of a mount."""
    answer: Json = {"Type": mount.type}
    if mount.name:
        answer["Name"] = mount.name
    answer["Source"] = mount.source
    answer["Destination"] = mount.destination
    if mount.driver:
        answer["Driver"] = mount.driver
    return {**answer, "Mode": mount.mode, "RW": mount.rw, "Propagation": mount.propagation}


def endpoint_settings(engine: Engine, record: ContainerRecord, name: str, asked: EndpointSettings) -> Json:
    """Return what a container asked of a network and what it got."""
    answer: Json = msgspec.to_builtins(asked)
    held = next((endpoint for endpoint in record.endpoints if endpoint.network == name), None)
    answer["NetworkID"] = engine.network_id(name) if record.state.started_at else ""
    if held:
        answer |= {
            "NetworkID": engine.network_id(name),
            "EndpointID": held.endpoint_id,
            "Gateway": held.gateway,
            "IPAddress": held.address,
            "IPPrefixLen": held.prefix,
            "IPv6Gateway": held.gateway6,
            "GlobalIPv6Address": held.address6,
            "GlobalIPv6PrefixLen": held.prefix6,
            "MacAddress": held.mac,
        }
    return answer


def mount_points(record: ContainerRecord) -> list[Json]:
    """Return the mounts of a container; those of ``--tmpfs`` stand in its host configuration alone."""
    own = {clean_path(path) for path in record.host_config.tmpfs or ()}
    return [mount_point(mount) for mount in record.mounts if mount.type != "tmpfs" or mount.destination not in own]


def network_settings(engine: Engine, record: ContainerRecord) -> Json:
    """Return the container's networks, addresses and ports."""
    held = record.endpoints[0] if record.endpoints else None
    networks = {name: endpoint_settings(engine, record, name, asked) for name, asked in record.networks.items()}
    running = record.state.status in ("running", "paused")
    first = networks.get("bridge", {})
    return {
        "Bridge": "",
        "SandboxID": held.endpoint_id if held else "",
        "SandboxKey": f"/proc/{record.state.pid}/ns/net" if running else "",
        "Ports": ports(record, held),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": first.get("EndpointID", ""),
        "Gateway": first.get("Gateway", ""),
        "GlobalIPv6Address": first.get("GlobalIPv6Address", ""),
        "GlobalIPv6PrefixLen": first.get("GlobalIPv6PrefixLen", 0),
        "IPAddress": first.get("IPAddress", ""),
        "IPPrefixLen": first.get("IPPrefixLen", 0),
        "IPv6Gateway": first.get("IPv6Gateway", ""),
        "MacAddress": first.get("MacAddress", ""),
        "Networks": networks,
    }


def ports(record: ContainerRecord, held: EndpointRecord | None) -> Json:
    """Return the port map of a running container: every exposed port, with the bindings of the published ones."""
    if held is None:
        return {}
    answer: dict[str, list[Json] | None] = dict.fromkeys(record.config.exposed_ports or {})
    for port in held.ports:
        key = f"{port.container_port}/{port.protocol}"
        bindings = answer.get(key) or []
        answer[key] = [*bindings, {"HostIp": port.host_ip, "HostPort": str(port.host_port)}]
    return answer


def host_config(host: HostConfig) -> Json:
    """Return the host configuration in Docker's order: its own fields, the resources, the paths."""
    values: Json = msgspec.to_builtins(host)
    answer = {name: values[name] for name in _OWN_FIELDS if name not in _LAST_FIELDS}
    answer |= {name: values[name] for name in _RESOURCE_FIELDS}
    answer |= {name: values[name] for name in _LAST_FIELDS}
    return {name: value for name, value in answer.items() if value or name not in _OMITTED_WHEN_EMPTY or value is False}


_RESOURCE_FIELDS = tuple(field.encode_name for field in msgspec.structs.fields(Resources))
_OWN_FIELDS = tuple(
    field.encode_name for field in msgspec.structs.fields(HostConfig) if field.encode_name not in _RESOURCE_FIELDS
)
_LAST_FIELDS = ("Mounts", "Init", "MaskedPaths", "ReadonlyPaths")
_OMITTED_WHEN_EMPTY = frozenset(
    ("Annotations", "Init", "KernelMemory", "KernelMemoryTCP", "Mounts", "StorageOpt", "Sysctls", "Tmpfs")
)


def _config(record: ContainerRecord) -> Json:
    answer: Json = msgspec.to_builtins(record.config)
    answer["OnBuild"] = record.config.on_build
    for absent in ("ExposedPorts", "Healthcheck", "Shell", "StopTimeout"):
        if answer.get(absent) is None:
            answer.pop(absent, None)
    for empty in ("StopSignal", "MacAddress"):
        if not answer.get(empty):
            answer.pop(empty, None)
    for false in ("NetworkDisabled", "ArgsEscaped"):
        if not answer.get(false):
            answer.pop(false, None)
    answer["Env"] = list(record.config.env or [])
    return answer


def _apparmor(engine: Engine, record: ContainerRecord) -> str:
    if not engine.facts.apparmor:
        return ""
    for option in record.host_config.security_opt or []:
        key, _, value = option.replace(":", "=", 1).partition("=")
        if key == "apparmor":
            return value
    return "unconfined" if record.host_config.privileged else "docker-default"


def _path(path: Any, container: Container) -> str:
    return str(path) if container.state.started_at else ""
