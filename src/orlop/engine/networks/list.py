"""`GET /networks` and `GET /networks/{id}`: the predefined networks and who is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.errors import InvalidArgument, NotFound
from orlop.formats.duration import format_rfc3339
from orlop.formats.filters import Filters

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["FILTERS", "inspect", "list_networks"]

Json = dict[str, Any]

FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
DRIVERS = {"bridge": "bridge", "host": "host", "none": "null"}


async def list_networks(engine: Engine, *, filters: Filters) -> list[Json]:
    """Return the networks that match, without who is in them."""
    for kind in filters.get("type"):
        if kind not in ("builtin", "custom"):
            raise InvalidArgument(f"invalid filter: 'type'='{kind}'")
    chosen = []
    for name in _names(engine):
        network = _network(engine, name)
        used = bool(_containers(engine, name))
        matches = (
            filters.exact("type", "builtin")
            and filters.exact("driver", network["Driver"])
            and filters.exact("scope", network["Scope"])
            and filters.prefix("id", network["Id"])
            and filters.contains("name", name)
            and filters.match_labels({})
            and (not filters.has("dangling") or filters.boolean("dangling") != used)
        )
        if matches:
            chosen.append(network)
    return chosen


async def inspect(engine: Engine, ref: str) -> Json:
    """Return the network of a name, an id or the beginning of an id. Raises `NotFound`."""
    by_id = {engine.network_id(name): name for name in _names(engine)}
    name = ref if ref in by_id.values() else by_id.get(ref, "")
    if not name:
        found = [name for key, name in by_id.items() if ref and key.startswith(ref)]
        if len(found) > 1:
            raise InvalidArgument(f"network {ref} is ambiguous ({len(found)} matches found based on ID prefix)")
        if not found:
            raise NotFound(f"network {ref} not found")
        name = found[0]
    return _network(engine, name) | {"Containers": _containers(engine, name)}


def _names(engine: Engine) -> list[str]:
    return [name for name in DRIVERS if name != "bridge" or engine.bridge is not None]


def _network(engine: Engine, name: str) -> Json:
    bridged = name == "bridge"
    return {
        "Name": name,
        "Id": engine.network_id(name),
        "Created": format_rfc3339((engine.config.data_root / "instance").stat().st_mtime_ns),
        "Scope": "local",
        "Driver": DRIVERS[name],
        "EnableIPv4": True,
        "EnableIPv6": bridged and engine.config.ipv6,
        "IPAM": {"Driver": "default", "Options": None, "Config": _addresses(engine) if bridged else None},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": _options(engine) if bridged else {},
        "Labels": {},
    }


def _addresses(engine: Engine) -> list[Json]:
    assert engine.bridge is not None
    return [{"Subnet": subnet, "Gateway": gateway} for subnet, gateway in engine.bridge.subnets()]


def _options(engine: Engine) -> dict[str, str]:
    config = engine.config
    return {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": str(config.icc).lower(),
        "com.docker.network.bridge.enable_ip_masquerade": str(config.ip_masq).lower(),
        "com.docker.network.bridge.host_binding_ipv4": config.default_ip or "0.0.0.0",
        "com.docker.network.driver.mtu": str(config.mtu or 1500),
    }


def _containers(engine: Engine, name: str) -> Json:
    """Return the running containers of a network by id."""
    found: Json = {}
    for container in engine.containers:
        record = container.record
        if container.running and name in record.networks:
            held = next((endpoint for endpoint in record.endpoints if endpoint.network == name), None)
            found[record.id] = {
                "Name": record.name,
                "EndpointID": held.endpoint_id if held else "",
                "MacAddress": held.mac if held else "",
                "IPv4Address": f"{held.address}/{held.prefix}" if held and held.address else "",
                "IPv6Address": f"{held.address6}/{held.prefix6}" if held and held.address6 else "",
            }
    return found
