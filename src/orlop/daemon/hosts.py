"""Addresses to listen on, as ``-H`` gives them: pure parsing, with dockerd's defaults and error texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orlop.errors import InvalidArgument

__all__ = ["MAX_SOCKET_PATH", "Host", "parse_host"]

MAX_SOCKET_PATH = 107
"""Bytes that the kernel takes as a unix socket's path (unix(7))."""

_PLAIN_PORT, _TLS_PORT = 2375, 2376


@dataclass(frozen=True, slots=True)
class Host:
    """One address: a path, a name and a port, or which of the passed descriptors ("*" for all)."""

    scheme: Literal["unix", "tcp", "fd"]
    address: str
    port: int = 0

    def __str__(self) -> str:
        if self.scheme != "tcp":
            return f"{self.scheme}://{self.address}"
        name = f"[{self.address}]" if ":" in self.address else self.address
        return f"tcp://{name}:{self.port}"


def parse_host(text: str, *, default_socket: str, tls: bool = False) -> Host:
    """Return what `text` names; an empty address means the default of its kind. Raises `InvalidArgument`."""
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    if not text or text == "unix://":
        return _unix(default_socket)
    if not separator:
        return _unix(text) if text.startswith("/") else _tcp(text, text, tls)
    if scheme == "unix":
        return _unix(rest)
    if scheme == "tcp":
        return _tcp(text, rest, tls)
    if scheme == "fd":
        return Host("fd", rest or "*")
    raise InvalidArgument(f"invalid bind address ({text}): unsupported proto '{scheme}'")


def _unix(path: str) -> Host:
    if not path.startswith("/"):
        raise InvalidArgument(f"invalid bind address (unix://{path}): the path of a socket has to be absolute")
    length = len(path.encode())
    if length > MAX_SOCKET_PATH:
        raise InvalidArgument(
            f"the path of the socket {path} has {length} bytes, and the kernel takes {MAX_SOCKET_PATH}: "
            "choose a shorter -H or --exec-root"
        )
    return Host("unix", path)


def _tcp(text: str, address: str, tls: bool) -> Host:
    address = address.removesuffix("/")
    name, port = address, ""
    if address.startswith("["):
        name, bracket, port = address[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise InvalidArgument(f"invalid bind address ({text}): missing ']' in address")
        port = port.removeprefix(":")
    elif address.count(":") == 1:
        name, _, port = address.partition(":")
    elif ":" in address:
        raise InvalidArgument(f"invalid bind address ({text}): too many colons in address")
    if "/" in name or "?" in name:
        raise InvalidArgument(f"invalid bind address ({text}): should not contain a path element")
    number = port or str(_TLS_PORT if tls else _PLAIN_PORT)
    if not number.isascii() or not number.isdigit() or int(number) > 65535:
        raise InvalidArgument(f"invalid bind address ({text}): invalid port {port}")
    return Host("tcp", name or "localhost", int(number))
