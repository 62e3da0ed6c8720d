"""A container's ``/etc/hosts`` (hosts(5)), and the ``name:address`` form of ``--add-host``.

What comes from a client or an image is checked field by field: nothing that is no single word gets into the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

__all__ = ["HOST_GATEWAY", "HostEntry", "generate", "parse_extra_host"]

HOST_GATEWAY = "host-gateway"

LOOPBACK = (("127.0.0.1", "localhost"),)
LOOPBACK6 = (
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::", "ip6-localnet"),
    ("ff00::", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One line: an address and its names. Raises ValueError for an address or a name that cannot stand there."""

    address: str
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.address.isprintable():
            raise ValueError(f"invalid IP address in hosts file: {self.address!r}")
        try:
            ip_address(self.address)
        except ValueError:
            raise ValueError(f"invalid IP address in hosts file: {self.address!r}") from None
        for name in self.names:
            if not _is_word(name):
                raise ValueError(f"invalid host name: {name!r}")

    def line(self) -> str:
        return f"{self.address}\t{' '.join(self.names)}\n"


def _is_word(name: str) -> bool:
    return bool(name) and name.isprintable() and not set(name) & {" ", "#"}


def parse_extra_host(text: str) -> tuple[str, str]:
    """Split ``name:address`` of ``--add-host``; the address may be ``host-gateway``.

    Raises ValueError with dockerd's text.
    """
    name, colon, address = text.partition(":")
    if not colon or not _is_word(name):
        raise ValueError(f"bad format for add-host: {_quoted(text)}")
    if address != HOST_GATEWAY:
        bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
        try:
            address = HostEntry(bare, ()).address
        except ValueError:
            raise ValueError(f"invalid IP address in add-host: {_quoted(address)}") from None
    return name, address


def _quoted(text: str) -> str:
    return '"' + text.encode("unicode_escape", "backslashreplace").decode().replace('"', '\\"') + '"'


def generate(
    *,
    hostname: str = "",
    domainname: str = "",
    addresses: Iterable[str] = (),
    extra: Iterable[HostEntry] = (),
    ipv6: bool = True,
) -> str:
    """Return the file: loopback, `extra` in order, then the container's own `addresses` with its name.

    Raises ValueError for a host or domain name that is no single word.
    """
    lines = [f"{address}\t{names}\n" for address, names in LOOPBACK + (LOOPBACK6 if ipv6 else ())]
    lines += [entry.line() for entry in extra]
    names = (f"{hostname}.{domainname}", hostname) if domainname else (hostname,)
    lines += [HostEntry(address, names).line() for address in addresses]
    return "".join(lines)
