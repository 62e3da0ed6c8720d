"""``--publish`` and ``--expose``: ``[[host address:]host port[-end]:]container port[-end][/protocol]``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["expose", "parse_ports", "port_range"]

Bindings = dict[str, list[dict[str, str]]]
_PROTOCOLS = ("tcp", "udp", "sctp")


def port_range(text: str) -> tuple[int, int]:
    """Return the first and the last port of "80" or "80-90"; ValueError has docker's message."""
    if not text:
        raise ValueError("empty string specified for ports")
    words = text.split("-")
    first = _port(words[0])
    if len(words) == 1:
        return first, first
    last = _port(words[1])
    if last < first:
        raise ValueError(f"invalid range specified for port: {text}")
    return first, last


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text) > 0xFFFF:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)


def _split_protocol(text: str) -> tuple[str, str]:
    port, _, protocol = text.partition("/")
    if not port:
        return "", ""
    return port, protocol.partition("/")[0] or "tcp"


def parse_ports(specs: Iterable[str]) -> tuple[dict[str, Any], Bindings]:
    """Return the exposed ports and the bindings that ``-p`` asks for; ValueError has docker's message."""
    exposed: dict[str, Any] = {}
    bindings: Bindings = {}
    for spec in specs:
        for port, binding in _mappings(_from_long_form(spec)):
            exposed[port] = {}
            bindings.setdefault(port, []).append(binding)
    return exposed, bindings


def _from_long_form(spec: str) -> str:
    """Return the short form of ``published=8080,target=80,protocol=udp``."""
    if "=" not in spec:
        return spec
    fields = {"protocol": "tcp"}
    for field in spec.split(","):
        key, separator, value = field.partition("=")
        if not separator or not key:
            raise ValueError(f"invalid publish opts format (should be name=value but got '{field}')")
        fields[key] = value
    return f"{fields.get('published', '')}:{fields.get('target', '')}/{fields['protocol']}"


def _mappings(spec: str) -> list[tuple[str, dict[str, str]]]:
    words = spec.split(":")
    address = ":".join(words[:-2])
    host = words[-2] if len(words) > 1 else ""
    container, protocol = _split_protocol(words[-1])
    address = _check_address(address)
    if not container:
        raise ValueError(f"no port specified: {spec}<empty>")
    try:
        first, last = port_range(container)
    except ValueError:
        raise ValueError(f"invalid containerPort: {container}") from None
    try:
        host_first, host_last = port_range(host) if host else (0, 0)
    except ValueError:
        raise ValueError(f"invalid hostPort: {host}") from None
    if host and last - first != host_last - host_first and first != last:
        raise ValueError(f"invalid ranges specified for container and host Ports: {container} and {host}")
    if protocol.lower() not in _PROTOCOLS:
        raise ValueError(f"invalid proto: {protocol}")
    mappings = []
    for offset in range(last - first + 1):
        host_port = str(host_first + offset) if host else ""
        if first == last and host_first != host_last:
            host_port = f"{host_first}-{host_last}"  # one port of the range, the daemon's choice
        binding = {"HostIp": address, "HostPort": host_port}
        mappings.append((f"{first + offset}/{protocol.lower()}", binding))
    return mappings


def _check_address(text: str) -> str:
    if not text:
        return ""
    bare = text
    if text.startswith("["):
        bare = text[1:].partition("]")[0]
        if text != f"[{bare}]":
            raise ValueError(f"invalid IP address {text}: address {text}:: missing ']' in address")
    from ipaddress import ip_address

    try:
        ip_address(bare)
    except ValueError:
        raise ValueError(f"invalid IP address: {bare}") from None
    return bare


def expose(specs: Iterable[str], exposed: dict[str, Any]) -> None:
    """Add the ports of ``--expose`` to `exposed`; ValueError has docker's message."""
    for spec in specs:
        if ":" in spec:
            raise ValueError(f"invalid port format for --expose: {spec}")
        port, protocol = _split_protocol(spec)
        try:
            first, last = port_range(port)
        except ValueError as error:
            raise ValueError(f"invalid range format for --expose: {spec}, error: {error}") from None
        for number in range(first, last + 1):
            exposed.setdefault(f"{number}/{protocol}", {})
