"""`orlop version`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from orlop import __version__
from orlop.cli.command import command
from orlop.cli.failure import CommandError, daemon_message
from orlop.cli.flags import STRING, Flag, Options
from orlop.cli.output import tabulate
from orlop.cli.session import Session
from orlop.client import calls
from orlop.client.engine import API_VERSION
from orlop.errors import Error

__all__ = ["client_version", "version"]


@command("[OPTIONS]", flags=(Flag("format", "f", STRING, "How to print: 'json' or a Go template"),))
def version(session: Session, options: Options, arguments: list[str]) -> None:
    """Show the versions of the client and, if it answers, of the daemon."""
    render = None
    if options.format:
        from orlop.cli.document import renderer

        render = renderer("{{json .}}" if options.format == "json" else options.format)
    problem = ""
    server: dict[str, Any] | None = None
    try:
        server = session.engine.do(calls.version())
        api_version = session.engine.version
    except Error as error:
        problem = daemon_message(error)
        api_version = API_VERSION
    client = client_version(session, api_version)
    if render is None:
        sys.stdout.write(tabulate(_text(client, server) + "\n", minimum=20, padding=1))
    else:
        sys.stdout.write(render({"Client": client, "Server": server}) + "\n")
    if problem:
        raise CommandError(problem)


def client_version(session: Session, api_version: str) -> dict[str, Any]:
    """Return what there is to say of the client."""
    machine = _architecture()
    client = {
        "Version": __version__,
        "ApiVersion": api_version,
        "DefaultAPIVersion": API_VERSION,
        "PythonVersion": sys.version.split()[0],
        "Os": sys.platform,
        "Arch": machine,
        "Context": session.context,
    }
    return {key: value for key, value in client.items() if value}


def _architecture() -> str:
    import os

    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _text(client: Mapping[str, Any], server: Mapping[str, Any] | None) -> str:
    older = client["ApiVersion"] != client["DefaultAPIVersion"]
    lines = [
        "Client:",
        f" Version:\t{client['Version']}",
        f" API version:\t{client['ApiVersion']}"
        + (f" (downgraded from {client['DefaultAPIVersion']})" if older else ""),
        f" Python version:\t{client['PythonVersion']}",
        f" OS/Arch:\t{client['Os']}/{client['Arch']}",
        f" Context:\t{client['Context']}",
    ]
    return "\n".join(lines + (_server_lines(server) if server is not None else []))


def _server_lines(server: Mapping[str, Any]) -> list[str]:
    platform = (server.get("Platform") or {}).get("Name", "")
    lines = ["", f"Server: {platform}" if platform else "Server:"]
    components = server.get("Components") or ()
    if not any(component["Name"] == "Engine" for component in components):
        details = {key: value for key, value in server.items() if isinstance(value, str)}
        components = [*components, {"Name": "Engine", "Version": server["Version"], "Details": details}]
    for component in components:
        details = component.get("Details") or {}
        lines += [f" {component['Name']}:", f"  Version:\t{component['Version']}"]
        if component["Name"] == "Engine":
            lines += _engine_lines(details)
        else:
            lines += [f"  {key}:\t{details[key]}" for key in sorted(details)]
    return lines


def _engine_lines(details: Mapping[str, str]) -> list[str]:
    return [
        f"  API version:\t{details.get('ApiVersion', '')} (minimum version {details.get('MinAPIVersion', '')})",
        f"  Go version:\t{details['GoVersion']}" if details.get("GoVersion") else "",
        f"  Git commit:\t{details.get('GitCommit', '')}",
        f"  Built:\t{_build_time(details.get('BuildTime', ''))}",
        f"  OS/Arch:\t{details.get('Os', '')}/{details.get('Arch', '')}",
        f"  Experimental:\t{details.get('Experimental', '')}",
    ]


def _build_time(text: str) -> str:
    """Return an RFC 3339 time in the form of C's asctime; what is none stays as it is."""
    from orlop.errors import InvalidArgument
    from orlop.formats.duration import SECOND, parse_rfc3339

    try:
        seconds = parse_rfc3339(text) // SECOND
    except InvalidArgument:
        return text
    import time

    return time.asctime(time.gmtime(seconds))
