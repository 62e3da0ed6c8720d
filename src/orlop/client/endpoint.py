"""Which daemon to talk to, and how: command-line flags, environment, Docker's configuration and its contexts.

The order is Docker's, with Orlop's own variable before it: ``--host``, ``--context``, ``ORLOP_HOST``, ``DOCKER_HOST``,
``DOCKER_CONTEXT``, the configuration's ``currentContext``, and at last Orlop's socket.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from orlop.client.config import ConfigFile
from orlop.errors import Error

__all__ = ["DEFAULT_CONTEXT", "DEFAULT_HOST", "Endpoint", "Selection", "TLSFiles", "parse_host", "resolve"]

DEFAULT_HOST = "unix:///run/orlop/orlop.sock"
DEFAULT_CONTEXT = "default"
_FALSE = ("", "0", "false", "no")


class TLSFiles:
    """The files of a TLS connection (PEM); an empty path is not used. `verify` asks for the server's identity."""

    __slots__ = ("ca", "certificate", "key", "verify")

    def __init__(self, *, ca: str, certificate: str, key: str, verify: bool) -> None:
        self.ca = ca
        self.certificate = certificate
        self.key = key
        self.verify = verify


class Endpoint:
    """One daemon. `scheme` is unix, tcp or ssh; `address` the path, ``host:port`` or ``[user@]host[:port]``."""

    __slots__ = ("address", "context", "host", "scheme", "tls")

    def __init__(self, host: str, *, tls: TLSFiles | None = None, context: str = DEFAULT_CONTEXT) -> None:
        self.host, self.scheme, self.address = parse_host(host, tls=tls is not None)
        self.tls = tls if self.scheme == "tcp" else None
        self.context = context


class Selection:
    """What the command line says about the daemon: the global flags, empty when not given."""

    __slots__ = ("ca", "certificate", "context", "host", "key", "tls", "tls_verify")

    def __init__(
        self,
        *,
        host: str = "",
        context: str = "",
        tls: bool = False,
        tls_verify: bool = False,
        ca: str = "",
        certificate: str = "",
        key: str = "",
    ) -> None:
        self.host = host
        self.context = context
        self.tls = tls
        self.tls_verify = tls_verify
        self.ca = ca
        self.certificate = certificate
        self.key = key


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
    return Endpoint(chosen, tls=tls)


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
    defaults = _files_in(environment.get("DOCKER_CERT_PATH") or config.directory, verify=verify)
    return TLSFiles(
        ca=selection.ca or defaults.ca,
        certificate=selection.certificate or defaults.certificate,
        key=selection.key or defaults.key,
        verify=verify,
    )


def _files_in(directory: str, *, verify: bool) -> TLSFiles:
    """Return the files that are there under their usual names."""
    paths = [os.path.join(directory, name) for name in ("ca.pem", "cert.pem", "key.pem")]
    ca, certificate, key = (path if os.path.exists(path) else "" for path in paths)
    return TLSFiles(ca=ca, certificate=certificate, key=key, verify=verify)


def _from_context(name: str, config: ConfigFile) -> Endpoint:
    import json
    from hashlib import sha256

    key = sha256(name.encode()).hexdigest()
    directory = os.path.join(config.directory, "contexts")
    path = os.path.join(directory, "meta", key, "meta.json")
    unresolved = f'unable to resolve docker endpoint: context "{name}"'
    try:
        with open(path, "rb") as file:
            meta = json.load(file)
    except FileNotFoundError:
        raise Error(f"{unresolved}: context not found: open {path}: no such file or directory") from None
    except (OSError, ValueError) as error:
        raise Error(f"{unresolved}: {error}") from error
    docker = meta.get("Endpoints", {}).get("docker", {})
    skip = bool(docker.get("SkipTLSVerify"))
    files = _files_in(os.path.join(directory, "tls", key, "docker"), verify=not skip)
    tls = files if files.ca or files.certificate or skip else None
    return Endpoint(docker.get("Host") or DEFAULT_HOST, tls=tls, context=name)
