"""Namespace modes: what the user may ask for, and the OCI list that follows (namespaces(7))."""

from __future__ import annotations

from typing import Any

from orlop.errors import InvalidArgument
from orlop.model.api.container import ContainerConfig, HostConfig

__all__ = ["check", "connected_container", "owned", "plan"]

_CONTAINER = "container:"
_KINDS = ("mount", "uts", "ipc", "pid", "network", "cgroup")


def connected_container(mode: str) -> str | None:
    """Return the container of a mode ``container:<name or id>``; None for another mode."""
    return mode.removeprefix(_CONTAINER) if mode.startswith(_CONTAINER) else None


def check(config: ContainerConfig, host: HostConfig) -> None:
    """Raise `InvalidArgument` with dockerd's text for a mode that there is not, or one that contradicts the rest."""
    _check_network(config, host)
    ipc = connected_container(host.ipc_mode)
    if host.ipc_mode not in ("", "private", "shareable", "none", "host") and not ipc:
        raise InvalidArgument(f"invalid IPC mode: {host.ipc_mode}")
    pid = connected_container(host.pid_mode)
    if host.pid_mode not in ("", "private", "host") and not pid:
        raise InvalidArgument(f"invalid PID mode: {host.pid_mode}")
    if host.uts_mode not in ("", "host"):
        raise InvalidArgument(f"invalid UTS mode: {host.uts_mode}")
    if host.uts_mode == "host" and config.hostname:
        raise InvalidArgument("conflicting options: hostname and the UTS mode")
    if host.cgroupns_mode not in ("", "host", "private"):
        raise InvalidArgument(f"invalid cgroup namespace mode: {host.cgroupns_mode}")
    if host.userns_mode not in ("", "host"):
        raise InvalidArgument(f"invalid user namespace mode: {host.userns_mode}")


def _check_network(config: ContainerConfig, host: HostConfig) -> None:
    mode = host.network_mode
    target = connected_container(mode)
    if target == "" or mode == "container":
        raise InvalidArgument("Invalid network mode: invalid container format container:<name|id>")
    if mode == "host" and host.links:
        raise InvalidArgument(
            "conflicting options: host type networking can't be used with links. "
            "This would result in undefined behavior"
        )
    if (target or mode == "host") and config.mac_address:
        raise InvalidArgument("conflicting options: mac-address and the network mode")
    if not target:
        return
    conflicts = (
        (config.hostname, "hostname and the network mode"),
        (
            host.links,
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (host.dns, "dns and the network mode"),
        (host.extra_hosts, "custom host-to-IP mapping and the network mode"),
        (host.port_bindings or host.publish_all_ports, "port publishing and the container type network mode"),
        (config.exposed_ports, "port exposing and the container type network mode"),
    )
    for asked, text in conflicts:
        if asked:
            raise InvalidArgument(f"conflicting options: {text}")


def plan(host: HostConfig, joined: dict[str, str]) -> list[dict[str, Any]]:
    """Return OCI ``linux.namespaces``: a new one of each kind, but those in `joined`.

    `joined` maps a kind to the path of the namespace to join, or to an empty string for the host's.
    """
    modes = {
        "network": host.network_mode,
        "pid": host.pid_mode,
        "ipc": host.ipc_mode,
        "uts": host.uts_mode,
        "cgroup": host.cgroupns_mode,
    }
    namespaces: list[dict[str, Any]] = []
    for kind in _KINDS:
        path = joined.get(kind, "" if modes.get(kind) == "host" else None)
        if path is None:
            namespaces.append({"type": kind})
        elif path:
            namespaces.append({"type": kind, "path": path})
    return namespaces


def owned(namespaces: list[dict[str, Any]], kind: str) -> bool:
    """Say whether the list makes a new namespace of a kind."""
    return any(namespace["type"] == kind and not namespace.get("path") for namespace in namespaces)
