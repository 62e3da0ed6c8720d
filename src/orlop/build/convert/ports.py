"""Ports of EXPOSE: ``80``, ``53/udp``, ``8000-8010``, and the forms of `docker run -p`, of which a part is ignored."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from orlop.errors import InvalidArgument
from orlop.formats.template import go_quote

__all__ = ["parse"]

_PROTOCOLS = ("tcp", "udp", "sctp")


def parse(words: Iterable[str]) -> list[str]:
    """Return every port as ``number/protocol``, in order. Raises `InvalidArgument` with Docker's words."""
    return [port for word in words for port in _ports(word)]


def _ports(word: str) -> list[str]:
    rest, _, container = word.rpartition(":")
    address, _, published = rest.rpartition(":")
    numbers, _, protocol = container.partition("/")
    protocol = protocol or "tcp"
    if not numbers:
        raise InvalidArgument(f"invalid port: {go_quote(word)}: no port specified")
    if protocol.lower() not in _PROTOCOLS:
        raise InvalidArgument(f"invalid port: {go_quote(word)}: invalid proto: {protocol}")
    _check_address(address)
    ports = _range(numbers)
    if ports is None:
        raise InvalidArgument(f"invalid containerPort: {numbers}")
    if published:
        outer = _range(published)
        if outer is None:
            raise InvalidArgument(f"invalid hostPort: {published}")
        if len(outer) != len(ports) != 1:
            message = f"invalid ranges specified for container and host Ports: {numbers} and {published}"
            raise InvalidArgument(message)
    return [f"{port}/{protocol.lower()}" for port in ports]


def _check_address(address: str) -> None:
    if not address:
        return
    plain = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        ip_address(plain)
    except ValueError:
        raise InvalidArgument(f"invalid IP address: {plain}") from None


def _range(text: str) -> range | None:
    first, dash, last = text.partition("-")
    numbers = [int(word) for word in (first, last if dash else first) if _is_port(word)]
    return range(numbers[0], numbers[1] + 1) if len(numbers) == 2 and numbers[0] <= numbers[1] else None


def _is_port(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word.lstrip("0")) <= 5 and int(word) < 1 << 16
