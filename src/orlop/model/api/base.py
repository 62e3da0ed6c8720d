"""What all API bodies share: Docker's spelling of a field's name and lists that may be absent."""

from __future__ import annotations

import re
from typing import Any

import msgspec

__all__ = ["Body", "Json", "docker_name"]

Json = dict[str, Any]

# Go field names are not the plain camel case of the Python ones where they hold an abbreviation.
_ABBREVIATIONS = {
    "Id": "ID",
    "Ip": "IP",
    "Uts": "UTS",
    "Oom": "OOM",
    "Io": "IO",
    "Iops": "IOps",
    "Ids": "IDs",
    "Ips": "IPs",
    "Ipam": "IPAM",
    "Ipv4": "IPv4",
    "Ipv6": "IPv6",
}
_EXCEPTIONS = {"oom_kill_disable": "OomKillDisable", "oom_score_adj": "OomScoreAdj"}


def docker_name(name: str) -> str:
    """Return Docker's JSON name of the field `name`: ``network_id`` → ``NetworkID``."""
    if name in _EXCEPTIONS:
        return _EXCEPTIONS[name]
    words = (word.capitalize() for word in re.split("_", name))
    return "".join(_ABBREVIATIONS.get(word, word) for word in words)


class Body(msgspec.Struct, frozen=True, kw_only=True, rename=docker_name):
    """The base of all bodies: frozen, keyword arguments only, Docker's names in JSON, unknown fields dropped."""
