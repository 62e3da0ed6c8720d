"""Which ports a container publishes: pure functions from its configuration to port requests."""

from __future__ import annotations

import ipaddress

from orlop.errors import InvalidArgument
from orlop.model.api.container import ContainerConfig, HostConfig, PortBinding
from orlop.network.network import PortRequest

__all__ = ["parse_port", "parse_range", "requests"]

PROTOCOLS = ("tcp", "udp", "sctp")


def parse_port(text: str) -> tuple[int, str]:
    """Return number and protocol of ``80``, ``80/tcp``, ``53/udp``."""
    number, _, protocol = text.partition("/")
    protocol = (protocol or "tcp").lower()
    if protocol not in PROTOCOLS:
        raise InvalidArgument(f"invalid port specification: {text!r}".replace("'", '"'))
    return _number(number, text), protocol


def requests(config: ContainerConfig, host: HostConfig, default_ip: str = "") -> tuple[PortRequest, ...]:
    """Return what is to be published: `PortBindings`, and every exposed port with `PublishAllPorts`.

    Raises `InvalidArgument` for what is no port or address.
    """
    found: list[PortRequest] = []
    bound = set()
    for port, bindings in (host.port_bindings or {}).items():
        number, protocol = parse_port(port)
        if bindings:
            bound.add((number, protocol))
        found += (_request(number, protocol, binding, default_ip) for binding in bindings or [])
    for port in config.exposed_ports or {}:
        for number, protocol in parse_range(port):
            if host.publish_all_ports and (number, protocol) not in bound:
                found.append(PortRequest(number, protocol, default_ip))
    return tuple(found)


def _request(number: int, protocol: str, binding: PortBinding, default_ip: str) -> PortRequest:
    address = binding.host_ip.strip("[]")
    if address:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise InvalidArgument(f"invalid IP address: {binding.host_ip}") from None
    first, _, last = binding.host_port.partition("-")
    low = _number(first, binding.host_port, zero=True) if first else 0
    high = _number(last, binding.host_port) if last else low
    if high < low:
        raise InvalidArgument(f"invalid port range: {binding.host_port}")
    return PortRequest(number, protocol, address or default_ip, (low, high))


def parse_range(port: str) -> list[tuple[int, str]]:
    """Return every port of ``80``, ``8000-8010``, ``53/udp``."""
    numbers, _, protocol = port.partition("/")
    first, dash, last = numbers.partition("-")
    if not dash:
        return [parse_port(port)]
    low, high = _number(first, port), _number(last, port)
    return [parse_port(f"{number}/{protocol or 'tcp'}") for number in range(low, high + 1)]


def _number(text: str, whole: str, *, zero: bool = False) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and (0 if zero else 1) <= int(text) <= 65535):
        raise InvalidArgument(f'invalid port specification: "{whole}"')
    return int(text)
