"""``--network`` in both forms, and the flags that go with it."""

from __future__ import annotations

import re
from typing import Any

from orlop.cli.create.values import is_mac_address, parse_fields
from orlop.cli.flags import Options
from orlop.formats.template import go_quote

__all__ = ["endpoints", "parse_network"]

Json = dict[str, Any]

_LONG_FORM = re.compile(r"\w+=\w+(,\w+=\w+)*", re.ASCII)


def parse_network(text: str) -> Json:
    """Return an attachment from a network's name or from ``name=…,alias=…,ip=…``; keys are those of the long form."""
    if not _LONG_FORM.search(text):
        return {"name": text}
    network: Json = {"name": "", "alias": [], "link-local-ip": [], "driver-opt": {}}
    for field in parse_fields(text):
        key, separator, value = field.lower().partition("=")
        key, value = key.strip(), value.strip()
        if not separator or not key:
            raise ValueError(f"invalid field {field}")
        if key in ("alias", "link-local-ip"):
            network[key].append(value)
        elif key in ("name", "ip", "ip6", "mac-address"):
            network[key] = value
        elif key == "driver-opt":
            name, equals, option = value.partition("=")
            if not equals or not name:
                raise ValueError("invalid key value pair format in driver options")
            network[key][name.strip()] = option.strip()
        elif key == "gw-priority":
            if not re.fullmatch(r"[+-]?\d+", value, re.ASCII):
                raise ValueError(f"invalid gw-priority ({value}): invalid syntax")
            network[key] = int(value)
        else:
            raise ValueError(f"invalid field key {key}")
    if not network["name"]:
        raise ValueError("network name/id is not specified")
    return network


def _is_user_defined(name: str) -> bool:
    return name not in ("default", "bridge", "host", "none") and not name.startswith("container:")


def endpoints(options: Options) -> Json:
    """Return ``EndpointsConfig`` by network name; ValueError has docker's message."""
    attachments: list[Json] = options.network or [{"name": "default"}]
    configs: Json = {}
    for index, attachment in enumerate(attachments):
        network = _with_flags(attachment, options) if index == 0 else attachment
        name = network["name"]
        config = _endpoint(network)
        if name in configs:
            raise ValueError(f"network {go_quote(name)} is specified multiple times")
        if index == 0 and len(options.network) == 1 and not any(config.values()):
            continue  # as before there was a long form: the daemon makes the endpoint itself
        configs[name] = config
    kinds = {_is_user_defined(attachment["name"]) for attachment in attachments}
    if len(kinds) > 1:
        raise ValueError("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    return configs


# The first network takes what the plain flags say: (flag, key of the long form, what both would be).
_PLAIN_FLAGS = (
    ("network_alias", "alias", "--network-alias and per-network alias"),
    ("link", "links", "--link and per-network links"),
    ("ip", "ip", "--ip and per-network IPv4 address"),
    ("ip6", "ip6", "--ip6 and per-network IPv6 address"),
    ("mac_address", "mac-address", "--mac-address and per-network MAC address"),
    ("link_local_ip", "link-local-ip", "--link-local-ip and per-network link-local IP addresses"),
)


def _with_flags(attachment: Json, options: Options) -> Json:
    network = dict(attachment)
    for flag, key, both in _PLAIN_FLAGS:
        value = getattr(options, flag)
        if not value:
            continue
        if network.get(key):
            raise ValueError(f"conflicting options: cannot specify both {both}")
        if flag == "link" and not _is_user_defined(network["name"]):
            continue  # on the default bridge a link is the host's affair, not the endpoint's
        network[key] = value
    return network


def _endpoint(network: Json) -> Json:
    name = network["name"]
    if not name.strip():
        raise ValueError("no name set for network")
    if not _is_user_defined(name):
        if network.get("alias"):
            raise ValueError("network-scoped aliases are only supported for user-defined networks")
        if network.get("links"):
            raise ValueError("links are only supported for user-defined networks")
    if network.get("mac-address") and not is_mac_address(network["mac-address"]):
        raise ValueError(f"{network['mac-address']} is not a valid mac address")
    addresses = {
        "IPv4Address": network.get("ip", ""),
        "IPv6Address": network.get("ip6", ""),
        "LinkLocalIPs": network.get("link-local-ip", []),
    }
    return {
        "IPAMConfig": {key: value for key, value in addresses.items() if value} or None,
        "Links": network.get("links") or None,
        "Aliases": network.get("alias") or None,
        "MacAddress": network.get("mac-address", ""),
        "DriverOpts": network.get("driver-opt") or None,
        "GwPriority": network.get("gw-priority", 0),
    }
