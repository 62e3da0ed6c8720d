"""The nftables rules of a bridge, as text: what should be there, made from data alone.

An instance has one table, ``orlop_<iid>``, which is replaced as a whole when a bridge is opened; after that a published
port is one element of a map. The rules hold whether bridged packets pass the IP hooks (``bridge-nf-call-iptables``) or
not. What they do, chain by chain:

- *guard* (before connection tracking): nothing that comes from a wire carries a loopback address (CVE-2020-8558), and
  nothing reaches a container past its published ports by routing to its address.
- *prerouting*, *output*: a packet to a local address and a published port goes to the container. ``::1`` cannot be
  routed to a bridge: the socket that reserves the port serves it (`orlop.network.relay`), and with ``icc`` off it
  serves the neighbours on the bridge too.
- *postrouting*: sources that the container could not answer to the right way become the gateway's: loopback, the host,
  a neighbour on the bridge that came by the host's address. They are told by address, because interface names do
  not match where bridged packets pass. What leaves the host gets the host's address.
- *forward*: into the bridge go answers and published ports; between containers everything, or with ``icc`` off
  nothing (and the ports of the bridge are isolated, which holds for bridged packets too).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from orlop.model.record import EndpointRecord, PublishedPort

__all__ = ["FORWARD_TABLE", "BridgeRules", "delete_table", "forward_guard", "publish", "table_name", "withdraw"]

FORWARD_TABLE = "orlop_forward"

MAPS = {
    "chosen4": "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
    "any4": "inet_proto . inet_service : ipv4_addr . inet_service",
    "chosen6": "ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service",
    "any6": "inet_proto . inet_service : ipv6_addr . inet_service",
}


@dataclass(frozen=True, slots=True)
class BridgeRules:
    """What the rules of a bridge depend on. Subnets are CIDRs; `subnet6` is empty without IPv6."""

    table: str
    bridge: str
    subnet: str
    subnet6: str = ""
    icc: bool = True
    masquerade: bool = True

    def text(self, endpoints: Iterable[EndpointRecord] = ()) -> str:
        """Return the transaction that makes the table anew, with the published ports of `endpoints`."""
        elements: dict[str, list[str]] = {name: [] for name in MAPS}
        for record in endpoints:
            for name, key, value in _elements(record):
                elements[name].append(f"{key} : {value}")
        body = [_map(name, kind, elements[name]) for name, kind in MAPS.items()]
        body += [
            _chain("translate", TRANSLATE),
            _chain("guard", ["type filter hook prerouting priority raw;", *self._guard()]),
            _chain("prerouting", ["type nat hook prerouting priority dstnat;", self._prerouting()]),
            _chain("output", ["type nat hook output priority -100;", *OUTPUT]),
            _chain("postrouting", ["type nat hook postrouting priority srcnat;", *self._postrouting()]),
            _chain("forward", ["type filter hook forward priority filter - 5; policy accept;", *self._forward()]),
        ]
        return _replace_table(self.table, body)

    def _families(self) -> list[tuple[str, str]]:
        return [("ip", self.subnet)] + ([("ip6", self.subnet6)] if self.subnet6 else [])

    def _guard(self) -> list[str]:
        lines = list(LOOPBACK_GUARD)
        if self.masquerade:  # without, answers to containers carry their addresses here: the forward chain decides
            for family, subnet in self._families():
                lines.append(f'iifname != "{self.bridge}" {family} daddr {subnet} fib daddr type != local drop')
        return lines

    def _prerouting(self) -> str:
        # Where bridged packets pass, a translated one goes from port to port, which isolation forbids.
        source = "" if self.icc else f'iifname != "{self.bridge}" '
        return f"{source}fib daddr type local jump translate"

    def _postrouting(self) -> list[str]:
        lines = []
        for family, subnet in self._families():
            to_us = f"{family} daddr {subnet}"
            lines.append(f"ct status dnat {to_us} fib saddr type local masquerade")
            lines.append(f"ct status dnat {to_us} {family} saddr {subnet} masquerade")
            if self.masquerade:
                lines.append(f'{family} saddr {subnet} oifname != "{self.bridge}" masquerade')
        return lines

    def _forward(self) -> list[str]:
        inside = f'iifname "{self.bridge}" oifname "{self.bridge}"'
        lines = [
            f'iifname != "{self.bridge}" oifname != "{self.bridge}" accept',
            "ct state established,related accept",
            *([f"{inside} accept"] if self.icc else []),
            f'oifname "{self.bridge}" ct status dnat accept',
            f'oifname "{self.bridge}" drop',
        ]
        if self.masquerade:  # what is not tracked would leave with a container's own address
            lines.append("ct state invalid drop")
        return lines


LOOPBACK_GUARD = (
    'iifname != "lo" ip daddr 127.0.0.0/8 drop',
    'iifname != "lo" ip saddr 127.0.0.0/8 drop',
    'iifname != "lo" ip6 daddr ::1 drop',
    'iifname != "lo" ip6 saddr ::1 drop',
)
TRANSLATE = (
    "dnat ip to ip daddr . meta l4proto . th dport map @chosen4",
    "dnat ip to meta l4proto . th dport map @any4",
    "dnat ip6 to ip6 daddr . meta l4proto . th dport map @chosen6",
    "dnat ip6 to meta l4proto . th dport map @any6",
)
OUTPUT = (
    "meta nfproto ipv4 fib daddr type local jump translate",
    "ip6 daddr != ::1 fib daddr type local jump translate",
)


def table_name(instance: str) -> str:
    """Return the name of an instance's nftables table."""
    return f"orlop_{instance}"


def publish(table: str, record: EndpointRecord) -> str:
    """Return the transaction that publishes an endpoint's ports, "" if it has none."""
    return _by_map(table, "add", [(name, f"{key} : {value}") for name, key, value in _elements(record)])


def withdraw(table: str, record: EndpointRecord) -> str:
    """Return the transaction that takes an endpoint's ports away, "" if it has none."""
    return _by_map(table, "delete", [(name, key) for name, key, _ in _elements(record)])


def _by_map(table: str, verb: str, elements: list[tuple[str, str]]) -> str:
    lines = []
    for name in MAPS:
        if texts := [text for of, text in elements if of == name]:
            lines.append(f"{verb} element inet {table} {name} {{ {', '.join(texts)} }}")
    return "\n".join(lines)


def delete_table(table: str) -> str:
    """Return the transaction that removes a table, whether it exists or not."""
    return f"table inet {table}\ndelete table inet {table}\n"


def forward_guard(bridges: Iterable[str], versions: Iterable[int]) -> str:
    """Return the transaction that keeps the host from becoming a router of IP `versions` for others.

    Only packets that touch one of `bridges` are routed. Frames that pass within some other bridge come by here too
    where bridge-nf is on; nothing tells them from packets routed between two bridges, so that these pass as well.
    """
    body = [_set("bridges", "ifname", [f'"{bridge}"' for bridge in sorted(bridges)])]
    rules = ["iifname @bridges accept", "oifname @bridges accept", 'meta iifkind "bridge" meta oifkind "bridge" accept']
    rules += [f"meta nfproto ipv{version} drop" for version in sorted(versions)]
    body.append(_chain("forward", ["type filter hook forward priority filter; policy accept;", *rules]))
    return _replace_table(FORWARD_TABLE, body)


def _replace_table(table: str, body: Iterable[str]) -> str:
    return delete_table(table) + f"table inet {table} {{\n" + "".join(body) + "}\n"


def _elements(record: EndpointRecord) -> list[tuple[str, str, str]]:
    """The (map, key, value) of each port that the kernel can translate; the others are left to the listener."""
    found = []
    for port in record.ports:
        host = ip_address(port.host_ip)
        target = record.address if host.version == 4 else record.address6
        if not target or host == IPv6Address("::1"):
            continue
        key = f"{port.protocol} . {port.host_port}"
        name = f"any{host.version}" if host.is_unspecified else f"chosen{host.version}"
        found.append((name, key if host.is_unspecified else f"{host} . {key}", _value(target, port)))
    return found


def _value(target: str, port: PublishedPort) -> str:
    return f"{target} . {port.container_port}"


def _map(name: str, kind: str, elements: list[str]) -> str:
    return _block("map", name, kind, elements)


def _set(name: str, kind: str, elements: list[str]) -> str:
    return _block("set", name, kind, elements)


def _block(what: str, name: str, kind: str, elements: list[str]) -> str:
    content = f"    elements = {{ {', '.join(elements)} }}\n" if elements else ""
    return f"  {what} {name} {{\n    type {kind}\n{content}  }}\n"


def _chain(name: str, rules: Iterable[str]) -> str:
    return f"  chain {name} {{\n" + "".join(f"    {rule}\n" for rule in rules) + "  }\n"
