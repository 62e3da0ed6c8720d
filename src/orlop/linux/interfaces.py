"""Interfaces of the calling thread's network namespace: configuring a container's, and looking at what is there.

`configure` and `loopback_up` are called by the shim after it entered the container's namespace and while the host's
``/proc`` is still mounted: reading and writing ``/proc/sys/net`` meets the namespace of the caller.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from orlop.formats.netlink import Request
from orlop.formats.rtnetlink import (
    Address,
    Link,
    Route,
    add_address,
    add_route,
    list_addresses,
    list_links,
    list_routes,
    parse_address,
    parse_link,
    parse_route,
    set_link,
)
from orlop.linux.netlink import Netlink

__all__ = ["addresses", "configure", "links", "loopback_up", "read_sysctl", "routes", "write_sysctl"]

SYSCTL = Path("/proc/sys")
LOOPBACK = 1  # the index of lo in every namespace


def read_sysctl(name: str) -> str:
    """Return the value of ``net/ipv4/ip_forward``."""
    return (SYSCTL / name).read_text().strip()


def write_sysctl(name: str, value: str) -> None:
    (SYSCTL / name).write_text(value)


def links(netlink: Netlink) -> list[Link]:
    return [parse_link(message) for message in netlink.dump(list_links())]


def addresses(netlink: Netlink) -> list[Address]:
    return [parse_address(message) for message in netlink.dump(list_addresses())]


def routes(netlink: Netlink) -> list[Route]:
    """The unicast and local routes of both IP versions, of all tables."""
    return [parse_route(message) for version in (4, 6) for message in netlink.dump(list_routes(version))]


def loopback_up() -> None:
    """Bring ``lo`` up."""
    with Netlink() as netlink:
        netlink.perform([set_link(LOOPBACK, name="lo", up=True)])


def configure(config: dict[str, Any]) -> None:
    """Bring up ``lo`` and the interfaces of `config`, all in one send, after its sysctls are written::

        {"interfaces": [{"ifindex": 2 or "host_name": "veth1", "name": "eth0", "mac": "…", "mtu": 1500,
                         "addresses": ["172.17.0.2/16"], "routes": [{"dst": "default", "gateway": "172.17.0.1"}]}],
         "sysctls": {"net/ipv6/conf/eth0/disable_ipv6": "1"}}

    Only ``name`` is needed: an interface without ``ifindex`` and ``host_name`` has that name already. Sysctls of an
    interface are named by its final name. Raises `NetlinkError` (an OSError), or OSError for a missing interface or
    sysctl.
    """
    described = [(_index(interface), interface) for interface in config.get("interfaces", ())]
    with Netlink() as netlink:
        netlink.perform([_identify(index, interface) for index, interface in described if _renamed(interface)])
        for name, value in config.get("sysctls", {}).items():
            write_sysctl(name, value)
        plan = [set_link(LOOPBACK, name="lo", up=True)]
        for index, interface in described:
            plan += _bring_up(index, interface)
        netlink.perform(plan)


def _index(interface: dict[str, Any]) -> int:
    return int(interface.get("ifindex") or socket.if_nametoindex(interface.get("host_name") or interface["name"]))


def _renamed(interface: dict[str, Any]) -> bool:
    return bool(interface.get("ifindex")) or interface.get("host_name", interface["name"]) != interface["name"]


def _identify(index: int, interface: dict[str, Any]) -> Request:
    return set_link(index, new_name=interface["name"])


def _bring_up(index: int, interface: dict[str, Any]) -> list[Request]:
    mac, mtu = interface.get("mac", ""), int(interface.get("mtu") or 0)
    plan = [set_link(index, name=interface["name"], mac=mac, mtu=mtu)] if mac or mtu else []
    plan += [add_address(index, address) for address in interface.get("addresses", ())]
    plan.append(set_link(index, name=interface["name"], up=True))
    plan += [add_route(index, route["dst"], route.get("gateway", "")) for route in interface.get("routes", ())]
    return plan
