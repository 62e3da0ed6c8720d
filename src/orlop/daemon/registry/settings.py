"""The flags of `orlop-registry` and what they come to: pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orlop.daemon.config import TLSFiles
from orlop.daemon.flags import Flag
from orlop.daemon.hosts import Host, parse_host
from orlop.errors import InvalidArgument
from orlop.formats.duration import parse_duration
from orlop.registry.storage.storage import Collection

__all__ = ["COMMANDS", "Command", "Serving", "collection", "help_text", "is_local", "serving"]

_ROOT = Flag("root", usage="Directory of the registry (default /var/lib/orlop-registry)")
_LEVELS = ("debug", "info", "warn", "error")
_PORT = 5000


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the program."""

    help: str
    flags: tuple[Flag, ...]


COMMANDS: Mapping[str, Command] = {
    "serve": Command(
        "Serve a registry",
        (
            Flag("listen", "list", "Address to listen on: HOST:PORT, unix:PATH or fd:// (default 127.0.0.1:5000)"),
            _ROOT,
            Flag("tls-cert", usage="TLS certificate, with its chain (PEM)"),
            Flag("tls-key", usage="Key of the TLS certificate (PEM)"),
            Flag("tls-client-ca", usage="Admit only clients with a certificate of this CA (PEM)"),
            Flag("plain-http", "bool", "Listen without TLS also where others can reach it"),
            Flag("htpasswd", usage="Password file: admit its users only (made by htpasswd -B)"),
            Flag("realm", usage='What the passwords are for, as clients show it (default "Orlop registry")'),
            Flag("read-only", "bool", "Refuse to change anything"),
            Flag("upload-expiry", usage="Drop uploads that nobody went on with for so long (default 24h)"),
            Flag("shutdown-timeout", "int", "Seconds that requests under way may take at the end (default 30)"),
            Flag("log-level", usage='Level of the log: "debug", "info", "warn", "error" (default info)'),
            Flag("log-format", usage='Form of the log: "text", "json" (default text)'),
        ),
    ),
    "gc": Command(
        "Remove blobs that no manifest needs",
        (
            _ROOT,
            Flag("untagged", "bool", "Remove manifests without a tag too"),
            Flag("grace", usage="Leave what was pushed or asked for within this time (default 1h)"),
            Flag("dry-run", "bool", "Only say what would be removed"),
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Serving:
    """What `serve` is told. Times are in seconds."""

    root: Path
    hosts: tuple[Host, ...]
    tls: TLSFiles | None
    htpasswd: Path | None
    realm: str
    read_only: bool
    upload_expiry: float
    shutdown_timeout: int
    log_level: str
    log_format: str


def serving(values: Mapping[str, Any]) -> Serving:
    """Return the settings of the flags that are given. Raises `InvalidArgument`."""
    tls = _tls(values)
    hosts = tuple(_host(text) for text in dict.fromkeys(values.get("listen") or [f"127.0.0.1:{_PORT}"]))
    open_hosts = [host for host in hosts if not is_local(host)]
    if open_hosts and tls is None and not values.get("plain-http"):
        raise InvalidArgument(
            f"{open_hosts[0]}: without TLS everybody on the way can read and change what is pushed and pulled, "
            "passwords too. Set --tls-cert and --tls-key, or say --plain-http if you really want this"
        )
    timeout = values.get("shutdown-timeout", 30)
    if timeout < 0:
        raise InvalidArgument(f"--shutdown-timeout must not be negative: {timeout}")
    return Serving(
        root=_root(values),
        hosts=hosts,
        tls=tls,
        htpasswd=Path(values["htpasswd"]).absolute() if values.get("htpasswd") else None,
        realm=_realm(values.get("realm", "Orlop registry")),
        read_only=values.get("read-only", False),
        upload_expiry=_seconds(values, "upload-expiry", "24h"),
        shutdown_timeout=timeout,
        log_level=_one_of(values, "log-level", _LEVELS, "info"),
        log_format=_one_of(values, "log-format", ("text", "json"), "text"),
    )


def collection(values: Mapping[str, Any]) -> tuple[Path, Collection]:
    """Return root and manner of a collection. Raises `InvalidArgument`."""
    how = Collection(
        grace=_seconds(values, "grace", "1h"),
        untagged=values.get("untagged", False),
        dry_run=values.get("dry-run", False),
    )
    return _root(values), how


def help_text(command: str = "") -> str:
    """Return what ``--help`` prints."""
    if not command:
        lines = ["Usage:  orlop-registry COMMAND", "", "A registry for images and other artifacts.", "", "Commands:"]
        lines += [f"  {name:<8} {entry.help}" for name, entry in COMMANDS.items()]
        return "\n".join([*lines, "", "Run 'orlop-registry COMMAND --help' for more information on a command."])
    lines = [f"Usage:  orlop-registry {command} [OPTIONS]", "", COMMANDS[command].help, "", "Options:"]
    for flag in sorted(COMMANDS[command].flags, key=lambda flag: flag.name):
        kind = "" if flag.kind == "bool" else f" {flag.kind}"
        lines.append(f"      --{flag.name + kind:<24} {flag.usage}")
    return "\n".join(lines)


def _host(text: str) -> Host:
    if text.startswith("unix:") and not text.startswith("unix://"):
        text = f"unix://{text.removeprefix('unix:')}"
    if "://" not in text and not text.startswith("/") and not text.rpartition("]")[2].count(":"):
        text = f"{text}:{_PORT}"
    return parse_host(text, default_socket="")


def is_local(host: Host) -> bool:
    """Tell whether only this machine reaches the address; of a socket that systemd passes its unit decides."""
    if host.scheme != "tcp" or host.address == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.address).is_loopback
    except ValueError:
        return False


def _tls(values: Mapping[str, Any]) -> TLSFiles | None:
    certificate, key, ca = (values.get(f"tls-{name}", "") for name in ("cert", "key", "client-ca"))
    if not certificate and not key and not ca:
        return None
    if not certificate or not key:
        raise InvalidArgument("TLS needs both --tls-cert and --tls-key")
    return TLSFiles(certificate, key, ca)


def _root(values: Mapping[str, Any]) -> Path:
    text = values.get("root", "/var/lib/orlop-registry")
    if not text:
        raise InvalidArgument("--root must not be empty")
    return Path(text).absolute()


def _realm(text: str) -> str:
    if not text.isprintable():
        raise InvalidArgument("--realm must be printable")
    return text


def _seconds(values: Mapping[str, Any], name: str, default: str) -> float:
    text = values.get(name, default)
    try:
        seconds = parse_duration(text) / 1e9
    except InvalidArgument as error:
        raise InvalidArgument(f'invalid argument "{text}" for "--{name}" flag: {error}') from None
    if seconds < 0:
        raise InvalidArgument(f"--{name} must not be negative: {text}")
    return seconds


def _one_of(values: Mapping[str, Any], name: str, admitted: tuple[str, ...], default: str) -> str:
    text = values.get(name, default)
    if text not in admitted:
        raise InvalidArgument(f"--{name} must be one of {', '.join(admitted)}: {text}")
    return str(text)
