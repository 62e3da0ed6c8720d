"""`orlop registry serve` and `orlop registry gc`: the program `orlop-registry` does them, in this process's place."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from orlop.cli.command import command
from orlop.cli.failure import CommandError
from orlop.cli.flags import BOOL, INT, LIST, STRING, Flag, Options
from orlop.cli.session import Session

__all__ = ["collect", "serve"]

_PROGRAM = "orlop-registry"
_ROOT = Flag("root", "", STRING, "Directory of the registry", "/var/lib/orlop-registry")
_SERVE = (
    Flag("listen", "", LIST, "Address to listen on: HOST:PORT, unix:PATH or fd:// (default 127.0.0.1:5000)"),
    _ROOT,
    Flag("tls-cert", "", STRING, "TLS certificate, with its chain (PEM)"),
    Flag("tls-key", "", STRING, "Key of the TLS certificate (PEM)"),
    Flag("tls-client-ca", "", STRING, "Admit only clients with a certificate of this CA (PEM)"),
    Flag("plain-http", "", BOOL, "Listen without TLS also where others can reach it"),
    Flag("htpasswd", "", STRING, "Password file: admit its users only (made by htpasswd -B)"),
    Flag("realm", "", STRING, "What the passwords are for, as clients show it", "Orlop registry"),
    Flag("read-only", "", BOOL, "Refuse to change anything"),
    Flag("upload-expiry", "", STRING, "Drop uploads that nobody went on with for so long", "24h"),
    Flag("shutdown-timeout", "", INT, "Seconds that requests under way may take at the end", "30"),
    Flag("log-level", "", STRING, 'Level of the log: "debug", "info", "warn", "error"', "info"),
    Flag("log-format", "", STRING, 'Form of the log: "text", "json"', "text"),
)
_COLLECT = (
    _ROOT,
    Flag("untagged", "", BOOL, "Remove manifests without a tag too"),
    Flag("grace", "", STRING, "Leave what was pushed or asked for within this time", "1h"),
    Flag("dry-run", "", BOOL, "Only say what would be removed"),
)


@command("[OPTIONS]", flags=_SERVE, long="Serve a registry (OCI distribution specification) until it is told to end.")
def serve(session: Session, options: Options, arguments: list[str]) -> None:
    """Serve a registry."""
    _execute("serve", _SERVE, options)


@command("[OPTIONS]", flags=_COLLECT, long="Remove blobs that no manifest needs. Others may push and pull meanwhile.")
def collect(session: Session, options: Options, arguments: list[str]) -> None:
    """Collect a registry's garbage."""
    _execute("gc", _COLLECT, options)


def _execute(name: str, flags: Sequence[Flag], options: Options) -> None:
    path = os.path.join(os.path.dirname(sys.executable), _PROGRAM)
    sys.stdout.flush()
    try:
        os.execv(path, [_PROGRAM, name, *_words(flags, options)])
    except FileNotFoundError:
        raise CommandError(f"{path} is missing: install Orlop again") from None


def _words(flags: Sequence[Flag], options: Options) -> Iterator[str]:
    """Yield the flags that were given, as the program reads them."""
    for flag in flags:
        if options.given(flag.name):
            value = getattr(options, flag.store)
            for item in value if isinstance(value, list) else (value,):
                yield f"--{flag.name}={str(item).lower() if isinstance(item, bool) else item}"
