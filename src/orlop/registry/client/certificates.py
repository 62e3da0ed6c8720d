"""TLS for registries: the system's authorities, and what ``certs.d`` holds for a host."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

from orlop.errors import Internal

__all__ = ["tls_context"]


def tls_context(host: str, directories: Iterable[Path], *, verified: bool) -> ssl.SSLContext:
    """Return the context for a connection to ``host[:port]``. Reads files. Raises `Internal` with dockerd's words."""
    context = ssl.create_default_context() if verified else _unverified()
    for directory in directories:
        if host and "/" not in host and host not in (".", ".."):
            _load(context, directory / host)
    return context


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the system's authorities, which take time to load
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _load(context: ssl.SSLContext, directory: Path) -> None:
    try:
        files = sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise Internal(f"open {directory}: {error.strerror}") from None
    names = {file.name for file in files}
    for file in files:
        key = file.with_suffix(".key")
        try:
            if file.suffix == ".crt":
                context.load_verify_locations(file)
            elif file.suffix == ".cert" and key.name in names:
                context.load_cert_chain(file, key, password="")  # nobody is there to be asked for one
        except (OSError, ValueError) as error:
            raise Internal(f"could not load {file}: {error}") from None
        if file.suffix == ".cert" and key.name not in names:
            raise Internal(
                f"missing key {key.name} for client certificate {file.name}. "
                "CA certificates must use the extension .crt"
            )
        if file.suffix == ".key" and file.with_suffix(".cert").name not in names:
            raise Internal(f"missing client certificate {file.with_suffix('.cert').name} for key {file.name}")
