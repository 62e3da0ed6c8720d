"""`orlop info`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from orlop.cli.command import command
from orlop.cli.commands.version import client_version
from orlop.cli.failure import CommandError, daemon_message
from orlop.cli.flags import STRING, Flag, Options
from orlop.cli.humanize import bytes_size
from orlop.cli.session import Session
from orlop.client import calls
from orlop.client.transport import CannotConnect
from orlop.errors import Error

__all__ = ["info"]

Json = Mapping[str, Any]


@command("[OPTIONS]", flags=(Flag("format", "f", STRING, "How to print: 'json' or a Go template"),))
def info(session: Session, options: Options, arguments: list[str]) -> None:
    """Show the state of the daemon, what it runs on and how it is set up."""
    render = None
    if options.format:
        from orlop.cli.document import renderer

        render = renderer("{{json .}}" if options.format == "json" else options.format)
    server: dict[str, Any] = {}
    problem: Error | None = None
    try:
        server = session.engine.do(calls.info())
    except Error as error:
        problem = error
    client = {"Debug": session.debug, **client_version(session, ""), "Plugins": [], "Warnings": None}
    if render is not None:
        if problem is not None and not isinstance(problem, CannotConnect):
            session.report(problem)
        sys.stdout.write(render({**server, "ClientInfo": client}) + "\n")
        if isinstance(problem, CannotConnect):
            raise problem
        return
    sys.stdout.write(
        "\n".join([*_client_lines(client), "", "Server:", *(_server_lines(server) if server else ())]) + "\n"
    )
    for warning in server.get("Warnings") or ():
        session.warn(warning)
    if isinstance(problem, CannotConnect):
        raise problem
    if problem is not None:
        raise CommandError(f"ERROR: {daemon_message(problem)}\nerrors pretty printing info")


def _client_lines(client: Json) -> list[str]:
    return [
        "Client:",
        f" Version:    {client['Version']}",
        f" Context:    {client['Context']}",
        f" Debug Mode: {_go(client['Debug'])}",
    ]


def _go(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _if_set(info: Json, fields: Iterable[tuple[str, str]]) -> list[str]:
    return [f" {label}: {info[key]}" for label, key in fields if info.get(key)]


def _server_lines(info: Json) -> list[str]:
    return [
        *_counts(info),
        *_plugins(info),
        *_runtimes(info),
        *_host(info),
        *_settings(info),
        "",
    ]


def _counts(info: Json) -> list[str]:
    return [
        f" Containers: {info.get('Containers', 0)}",
        f"  Running: {info.get('ContainersRunning', 0)}",
        f"  Paused: {info.get('ContainersPaused', 0)}",
        f"  Stopped: {info.get('ContainersStopped', 0)}",
        f" Images: {info.get('Images', 0)}",
        *_if_set(info, (("Server Version", "ServerVersion"), ("Storage Driver", "Driver"))),
        *(f"  {key}: {value}" for key, value in info.get("DriverStatus") or ()),
        *_if_set(
            info,
            (
                ("Logging Driver", "LoggingDriver"),
                ("Cgroup Driver", "CgroupDriver"),
                ("Cgroup Version", "CgroupVersion"),
            ),
        ),
    ]


def _plugins(info: Json) -> list[str]:
    plugins = info.get("Plugins") or {}
    lines = [" Plugins:"]
    for kind in ("Volume", "Network", "Authorization", "Log"):
        names = plugins.get(kind) or ()
        if names or kind != "Authorization":
            lines.append(f"  {kind}: {' '.join(names)}")
    if directories := info.get("CDISpecDirs"):
        lines += [" CDI spec directories:", *(f"  {directory}" for directory in directories)]
    if devices := info.get("DiscoveredDevices"):
        lines += [" Discovered Devices:", *(f"  {device['Source']}: {device['ID']}" for device in devices)]
    lines.append(f" Swarm: {(info.get('Swarm') or {}).get('LocalNodeState', '')}")
    return lines


def _runtimes(info: Json) -> list[str]:
    lines = []
    if runtimes := info.get("Runtimes"):
        lines += [f" Runtimes: {' '.join(runtimes)}", f" Default Runtime: {info.get('DefaultRuntime', '')}"]
    if info.get("OSType") != "linux":
        return lines
    lines += [
        f" Init Binary: {info.get('InitBinary', '')}",
        f" containerd version: {(info.get('ContainerdCommit') or {}).get('ID', '')}",
        f" runc version: {(info.get('RuncCommit') or {}).get('ID', '')}",
        f" init version: {(info.get('InitCommit') or {}).get('ID', '')}",
    ]
    if options := info.get("SecurityOptions"):
        lines.append(" Security Options:")
        for option in options:
            fields = dict(field.partition("=")[::2] for field in option.split(","))
            lines.append(f"  {fields.get('name', option)}")
            if "profile" in fields:
                lines.append(f"   Profile: {fields['profile']}")
    return lines


def _host(info: Json) -> list[str]:
    return [
        *_if_set(
            info,
            (
                ("Kernel Version", "KernelVersion"),
                ("Operating System", "OperatingSystem"),
                ("OSType", "OSType"),
                ("Architecture", "Architecture"),
            ),
        ),
        f" CPUs: {info.get('NCPU', 0)}",
        f" Total Memory: {bytes_size(info.get('MemTotal', 0))}",
        *_if_set(info, (("Name", "Name"), ("ID", "ID"))),
        f" Docker Root Dir: {info.get('DockerRootDir', '')}",
        f" Debug Mode: {_go(info.get('Debug', False))}",
    ]


def _settings(info: Json) -> list[str]:
    lines = []
    if info.get("Debug"):
        lines += [
            f"  File Descriptors: {info.get('NFd', 0)}",
            f"  Goroutines: {info.get('NGoroutines', 0)}",
            f"  System Time: {info.get('SystemTime', '')}",
            f"  EventsListeners: {info.get('NEventsListener', 0)}",
        ]
    lines += _if_set(info, (("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy")))
    if labels := info.get("Labels"):
        lines += [" Labels:", *(f"  {label}" for label in labels)]
    lines.append(f" Experimental: {_go(info.get('ExperimentalBuild', False))}")
    lines += _registries(info.get("RegistryConfig") or {})
    lines.append(f" Live Restore Enabled: {_go(info.get('LiveRestoreEnabled', False))}")
    if licence := info.get("ProductLicense"):
        lines.append(f" Product License: {licence}")
    if pools := info.get("DefaultAddressPools"):
        lines += [" Default Address Pools:", *(f"   Base: {pool['Base']}, Size: {pool['Size']}" for pool in pools)]
    return lines


def _registries(config: Json) -> list[str]:
    lines = []
    insecure = [entry["Name"] for entry in (config.get("IndexConfigs") or {}).values() if not entry.get("Secure")]
    networks = config.get("InsecureRegistryCIDRs") or ()
    if networks or config.get("IndexConfigs"):
        lines += [" Insecure Registries:", *(f"  {name}" for name in (*insecure, *networks))]
    if mirrors := config.get("Mirrors"):
        lines += [" Registry Mirrors:", *(f"  {mirror}" for mirror in mirrors)]
    return lines
