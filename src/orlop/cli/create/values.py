"""Single values of `run`'s flags: each function checks one text, with docker's message in its ValueError."""

from __future__ import annotations

import os
import re
from typing import Any

from orlop.cli.kinds import ram_bytes
from orlop.formats.template import go_quote

__all__ = [
    "add_host",
    "address",
    "attach",
    "device",
    "device_rule",
    "dns_search",
    "environment",
    "gpus",
    "is_mac_address",
    "label",
    "link",
    "parse_fields",
    "restart_policy",
    "sysctl",
    "throttle_bytes",
    "throttle_operations",
    "ulimit",
    "weight",
]

Json = dict[str, Any]


def parse_fields(text: str) -> list[str]:
    """Split one line of comma-separated values, with quotes as in CSV."""
    import csv

    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise ValueError(f"parse error on line 1: {error}") from None
    if not rows or not rows[0]:
        raise ValueError("EOF")
    return rows[0]


def attach(text: str) -> str:
    """Return the name of a standard stream."""
    if text.lower() in ("stdin", "stdout", "stderr"):
        return text.lower()
    raise ValueError("valid streams are STDIN, STDOUT and STDERR")


def environment(text: str) -> str:
    """Return ``NAME=value``; a bare name takes its value from the client's environment if it is set there."""
    name, separator, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    if not separator and name in os.environ:
        return f"{name}={os.environ[name]}"
    return text


def label(text: str) -> str:
    """Return a label, ``name[=value]``."""
    name = text.partition("=")[0].lstrip(" \t")
    if not name:
        raise ValueError(f"invalid label '{text}': empty name")
    if " " in name or "\t" in name:
        raise ValueError(f"label '{name}' contains whitespaces")
    return text


def address(text: str) -> str:
    """Return an IP address in its usual spelling."""
    from ipaddress import ip_address

    try:
        return str(ip_address(text.strip()))
    except ValueError:
        raise ValueError(f"IP address is not correctly formatted: {text}") from None


_DOMAIN = re.compile(
    r"(:?(:?[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
    r"(:?\.(:?[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*)\.?\s*\Z"
)


def dns_search(text: str) -> str:
    """Return a search domain, or a single dot."""
    text = text.strip(" ")
    if text == ".":
        return text
    match = _DOMAIN.match(text)
    if match is None or len(match[1]) >= 255 or not re.search("[a-zA-Z]", text):
        raise ValueError(f"{text} is not a valid domain")
    return match[1]


def add_host(text: str) -> str:
    """Return ``name:address`` from ``name:address`` or ``name=address``, the address perhaps in brackets."""
    name, separator, value = text.partition("=")
    if not separator:
        name, separator, value = text.partition(":")
    if not separator or not name or ":" in name:
        raise ValueError(f"bad format for add-host: {go_quote(text)}")
    if value != "host-gateway":
        if len(value) > 2 and value[0] == "[" and value[-1] == "]":
            value = value[1:-1]
        try:
            address(value)
        except ValueError:
            raise ValueError(f"invalid IP address in add-host: {go_quote(value)}") from None
    return f"{name}:{value}"


def link(text: str) -> str:
    """Return a link, ``container[:alias]``."""
    if not text:
        raise ValueError("empty string specified for links")
    if text.count(":") > 1:
        raise ValueError(f"bad format for links: {text}")
    return text


_SYSCTLS = frozenset(
    f"kernel.{name}" for name in ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"]
)


def sysctl(text: str) -> str:
    """Return ``name=value`` of a sysctl that belongs to a namespace."""
    name, separator, _ = text.partition("=")
    if not separator or not (name in _SYSCTLS or name.startswith(("net.", "fs.mqueue."))):
        raise ValueError(f"sysctl '{text}' is not allowed")
    return text


_ULIMITS = frozenset(
    (
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    )
)


def ulimit(text: str) -> Json:
    """Return a limit from ``name=soft[:hard]``."""
    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    numbers = value.split(":")
    if len(numbers) > 2:
        raise ValueError(f"too many limit value arguments - {value}, can only have up to two, `soft[:hard]`")
    hard = _integer(numbers[-1])
    soft = _integer(numbers[0])
    if hard != -1:
        problem = "ulimit soft limit must be less than or equal to hard limit"
        if soft == -1:
            raise ValueError(f"{problem}: soft: -1 (unlimited), hard: {hard}")
        if soft > hard:
            raise ValueError(f"{problem}: {soft} > {hard}")
    return {"Name": name, "Hard": hard, "Soft": soft}


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        raise ValueError(f"strconv.ParseInt: parsing {go_quote(text)}: invalid syntax")
    return int(text)


def _device_and_value(text: str) -> tuple[str, str]:
    path, separator, value = text.partition(":")
    if not separator or not path:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, value


def throttle_bytes(text: str) -> Json:
    """Return a device's limit of bytes a second from ``/dev/x:10mb``."""
    path, value = _device_and_value(text)
    try:
        return {"Path": path, "Rate": ram_bytes(value)}
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a "
            "positive integer. Unit is optional and can be kb, mb, or gb"
        ) from None


def throttle_operations(text: str) -> Json:
    """Return a device's limit of operations a second from ``/dev/x:1000``."""
    path, value = _device_and_value(text)
    if not value.isdecimal():
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>. "
            "Number must be a positive integer"
        )
    return {"Path": path, "Rate": int(value)}


def weight(text: str) -> Json:
    """Return a device's share of block I/O from ``/dev/x:500``."""
    path, value = _device_and_value(text)
    if not value.isdecimal() or not (int(value) == 0 or 10 <= int(value) <= 1000):
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(value)}


def device_rule(text: str) -> str:
    """Return a rule of the device cgroup, ``c 42:* rmw``."""
    if not re.fullmatch(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}", text):
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def _is_device_mode(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def device(text: str) -> Json:
    """Return a device from ``host[:container][:rwm]``."""
    from posixpath import normpath

    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise ValueError(f"bad format for path: {text}")
    source, target, mode = parts[0], parts[0], "rwm"
    if len(parts) == 3:
        target, mode = parts[1], parts[2]
        if not _is_device_mode(mode):
            raise ValueError(f"bad mode specified: {mode}")
    elif len(parts) == 2 and _is_device_mode(parts[1]):
        source = target = normpath(parts[0])
        mode = parts[1]
    elif len(parts) == 2:
        target = normpath(parts[1]) if parts[1] else ""
    else:
        source = target = normpath(text)
    if not target.startswith("/"):
        raise ValueError(f"{target or '.'} is not an absolute path")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": mode}


def gpus(text: str) -> Json:
    """Return a device request from ``all``, a number, or ``device=…,capabilities=…,options=…``."""
    request: Json = {"Driver": "", "Count": 0, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}
    seen: set[str] = set()
    for field in parse_fields(text):
        key, separator, value = field.partition("=")
        if key in seen:
            raise ValueError(f"gpu request key '{key}' can be specified only once")
        seen.add(key)
        if not separator:
            seen.add("count")
            request["Count"] = _gpu_count(key)
        elif key == "driver":
            request["Driver"] = value
        elif key == "count":
            request["Count"] = _gpu_count(value)
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "capabilities":
            request["Capabilities"] = [[*value.split(","), "gpu"]]
        elif key == "options":
            request["Options"] = {name: rest for name, _, rest in (item.partition("=") for item in parse_fields(value))}
        else:
            raise ValueError(f"unexpected key '{key}' in '{field}'")
    if "count" not in seen and request["DeviceIDs"] is None:
        request["Count"] = 1
    return request


def _gpu_count(text: str) -> int:
    if text == "all":
        return -1
    if not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        raise ValueError(f'invalid count ({text}): value must be either "all" or an integer: invalid syntax')
    return int(text)


def restart_policy(text: str) -> Json:
    """Return a restart policy from ``name[:retries]``."""
    name, separator, count = text.partition(":")
    if separator and not name:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    if count and not re.fullmatch(r"[+-]?\d+", count, re.ASCII):
        raise ValueError("invalid restart policy format: maximum retry count must be an integer")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


_MAC = re.compile(
    r"(?:[0-9a-f]{2}(?:(:|-)[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}(?:(?:\1[0-9a-f]{2}){2}|(?:\1[0-9a-f]{2}){14})?"
    r"|[0-9a-f]{4}(?:\.[0-9a-f]{4}){2}(?:\.[0-9a-f]{4}|(?:\.[0-9a-f]{4}){7})?)",
    re.IGNORECASE,
)


def is_mac_address(text: str) -> bool:
    """Say whether `text` is a hardware address in one of the forms that Go takes."""
    return _MAC.fullmatch(text.strip()) is not None
