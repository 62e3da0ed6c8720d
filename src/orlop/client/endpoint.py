"""Which daemon to talk to, and how: command-line flags, environment, Docker's configuration and its contexts.

The order is Docker's, with Orlop's own variable before it: ``--host``, ``--context``, ``ORLOP_HOST``, ``DOCKER_HOST``,
``DOCKER_CONTEXT``, the configuration's ``currentContext``, and at last Orlop's socket.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orlop.client.config import ConfigFile
from orlop.errors import Error

__all__ = ["DEFAULT_HOST", "Endpoint", "Selection", "TLSFiles", "parse_host", "resolve"]

DEFAULT_HOST = "unix:///run/orlop/orlop.sock"
DEFAULT_CONTEXT = "default"
_FALSE = ("", "0", "false", "no")


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """The files of a TLS connection (PEM); an empty path is not used. `verify` asks for the server's identity."""

    ca: str
    certificate: str
    key: str
    verify: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One daemon. `scheme` is unix, tcp or ssh; `address` the path, ``host:port`` or ``[user@]host[:port]``."""

    host: str
    scheme: str
    address: str
    tls: TLSFiles | None = None
    context: str = DEFAULT_CONTEXT


@dataclass(frozen=True, slots=True)
class Selection:
    """What the command line says about the daemon: the global flags, empty when not given."""

    host: str = ""
    context: str = ""
    tls: bool = False
    tls_verify: bool = False
    ca: str = ""
    certificate: str = ""
    key: str = ""


def parse_host(text: str, *, tls: bool = False) -> tuple[str, str, str]:
    """Split a ``--host`` value into its canonical text, scheme and address; raise `Error` with docker's message."""
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "tcp", text
    if scheme == "unix":
        path = rest or DEFAULT_HOST.removeprefix("unix://")
        return f"unix://{path}", "unix", path
    if scheme == "ssh":
        return text, "ssh", rest.rstrip("/")
    if scheme != "tcp":
        raise Error(f"invalid bind address format: {text}")
    host, port = _split_host_port(rest.split("/")[0])
    if port and not port.isdecimal():
        raise Error(f"invalid bind address format: {rest}")
    address = f"{host or 'localhost'}:{port or (2376 if tls else 2375)}"
    return f"tcp://{address}", "tcp", address


def _split_host_port(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, rest = text.partition("]")
        return host + "]", rest.removeprefix(":")
    host, separator, port = text.rpartition(":")
    return (host, port) if separator else (text, "")


def resolve(selection: Selection, environment: Mapping[str, str], config: ConfigFile) -> Endpoint:
    """Return the endpoint that flags, environment and configuration name; raise `Error` for contradictions."""
    if selection.host and selection.context:
        raise Error("conflicting options: cannot specify both --host and --context")
    name = context_name(selection, environment, config)
    if name != DEFAULT_CONTEXT:
        return _from_context(name, config)
    tls = _tls_files(selection, environment, config)
    chosen = selection.host or environment.get("ORLOP_HOST") or environment.get("DOCKER_HOST") or ""
    if not chosen:
        chosen = "tcp://" if tls is not None else DEFAULT_HOST
    host, scheme, address = parse_host(chosen, tls=tls is not None)
    return Endpoint(host, scheme, address, tls if scheme == "tcp" else None)


def context_name(selection: Selection, environment: Mapping[str, str], config: ConfigFile) -> str:
    """Return the name of the context in use, without looking whether it exists."""
    if selection.context:
        return selection.context
    if selection.host or environment.get("ORLOP_HOST") or environment.get("DOCKER_HOST"):
        return DEFAULT_CONTEXT
    return environment.get("DOCKER_CONTEXT") or config.text("currentContext") or DEFAULT_CONTEXT


def _tls_files(selection: Selection, environment: Mapping[str, str], config: ConfigFile) -> TLSFiles | None:
    verify = selection.tls_verify or environment.get("DOCKER_TLS_VERIFY", "") != ""
    if not (verify or selection.tls or environment.get("DOCKER_TLS", "").lower() not in _FALSE):
        return None
    directory = Path(environment.get("DOCKER_CERT_PATH") or config.directory)
    ca, certificate, key = directory / "ca.pem", directory / "cert.pem", directory / "key.pem"
    # A file that was named has to be there; a default one is used when it is.
    return TLSFiles(
        ca=selection.ca or (str(ca) if ca.exists() else ""),
        certificate=selection.certificate or (str(certificate) if certificate.exists() else ""),
        key=selection.key or (str(key) if key.exists() else ""),
        verify=verify,
    )


def _from_context(name: str, config: ConfigFile) -> Endpoint:
    import json
    from hashlib import sha256

    key = sha256(name.encode()).hexdigest()
    directory = Path(config.directory) / "contexts"
    try:
        meta = json.loads((directory / "meta" / key / "meta.json").read_bytes())
    except FileNotFoundError:
        path = os.fspath(directory / "meta" / key / "meta.json")
        raise Error(
            f'unable to resolve docker endpoint: context "{name}": context not found: '
            f"open {path}: no such file or directory"
        ) from None
    except (OSError, ValueError) as error:
        raise Error(f'unable to resolve docker endpoint: context "{name}": {error}') from error
    docker = meta.get("Endpoints", {}).get("docker", {})
    files = directory / "tls" / key / "docker"
    ca, certificate, private = files / "ca.pem", files / "cert.pem", files / "key.pem"
    tls = None
    if ca.exists() or certificate.exists() or docker.get("SkipTLSVerify"):
        tls = TLSFiles(
            ca=str(ca) if ca.exists() else "",
            certificate=str(certificate) if certificate.exists() else "",
            key=str(private) if private.exists() else "",
            verify=not docker.get("SkipTLSVerify", False),
        )
    host, scheme, address = parse_host(docker.get("Host") or DEFAULT_HOST, tls=tls is not None)
    return Endpoint(host, scheme, address, tls if scheme == "tcp" else None, context=name)
