"""What the client is told of registries by the daemon's flags."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orlop.errors import InvalidArgument

__all__ = ["Patience", "RegistryConfig", "host_name"]

_LOOPBACK = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a registry is waited for. All times are in seconds."""

    connect: float = 30.0
    answer: float = 60.0  # to the head of an answer, and for the whole of a small body
    stall: float = 60.0  # without a byte of a blob in either direction
    commit: float = 600.0  # from the last byte of an upload to its answer
    attempts: int = 5
    backoff: float = 0.5  # before the second attempt; doubles each time
    longest_wait: float = 60.0  # a server that says Retry-After and more than this has failed


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """The settings of all registries.

    `insecure` holds hosts (``host``, ``host:port``) and networks (CIDR) whose certificates are not verified and that
    may speak plain HTTP; loopback always is. `mirrors` are addresses that are asked before Docker Hub. In each of
    `certs_directories`, ``<host:port>/`` holds the registry's ``*.crt`` (authorities) and ``*.cert`` with ``*.key``.
    """

    insecure: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    certs_directories: tuple[Path, ...] = (Path("/etc/orlop/certs.d"), Path("/etc/docker/certs.d"))
    patience: Patience = Patience()

    def is_insecure(self, host: str, addresses: Iterable[str] = ()) -> bool:
        """Tell whether ``host[:port]`` counts as insecure; `addresses` are those that its name stands for."""
        name = host_name(host)
        if host in self.insecure or name in self.insecure or name == "localhost":
            return True
        found = [address for text in (name, *addresses) if (address := _address(text)) is not None]
        return any(address in network for network in self.networks() for address in found)

    def networks(self) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """Return the insecure networks, loopback among them."""
        return [ipaddress.ip_network(text, strict=False) for text in (*_LOOPBACK, *self.insecure) if "/" in text]

    def check(self) -> RegistryConfig:
        """Return this configuration if it makes sense. Raises `InvalidArgument` with dockerd's words."""
        for text in self.insecure:
            _check_insecure(text)
        for text in self.mirrors:
            _check_mirror(text)
        return self


def host_name(host: str) -> str:
    """Return the name in ``host[:port]``, without the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _check_insecure(text: str) -> None:
    for scheme in ("http://", "https://"):
        if text.lower().startswith(scheme):
            raise InvalidArgument(f"insecure registry {text} should not contain '://'")
    if "/" in text:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise InvalidArgument(f"insecure registry {text} is not valid: invalid CIDR address") from None
        return
    port = text.rpartition(":")[2] if text.count(":") == 1 else ""
    if not host_name(text) or text.startswith("-") or any(character.isspace() for character in text):
        raise InvalidArgument(f'insecure registry {text} is not valid: invalid host "{text}"')
    if ":" in text and port and not (port.isdecimal() and int(port) < 1 << 16):
        raise InvalidArgument(f'insecure registry {text} is not valid: invalid port "{port}"')


def _check_mirror(text: str) -> None:
    scheme, separator, rest = text.partition("://")
    if scheme not in ("http", "https") or not separator:
        raise InvalidArgument(f'invalid mirror: unsupported scheme "{scheme if separator else ""}" in "{text}"')
    host, _, path = rest.partition("/")
    if not host or path or any(mark in rest for mark in "?#"):
        raise InvalidArgument(f'invalid mirror: path, query, or fragment at end of the URI "{text}"')
    if "@" in host:
        host = host.rpartition("@")[2]
        raise InvalidArgument(f'invalid mirror: username/password not allowed in URI "{scheme}://xxxxx@{host}"')
