"""JSON documents as a Go template sees the structs behind them.

Docker's client renders ``inspect --format`` with its own types first and with the bare JSON second. The types have
fields that JSON leaves out when they are empty, maps of strings whose absent keys are empty, and some other names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gotpl import TypedMap

__all__ = ["documents"]

# Maps from strings to strings: a key that is not there is empty, not an error.
_STRING_MAPS = frozenset(
    ("Labels", "Options", "Sysctls", "Tmpfs", "StorageOpt", "Annotations", "Config", "DriverOpts", "Data")
)
# Fields that JSON leaves out when they are empty, by the object that has them; None names the whole document.
_LEFT_OUT: dict[str | None, dict[str, Any]] = {
    None: {"SizeRw": None, "SizeRootFs": None, "ImageManifestDescriptor": None, "Comment": "", "Author": ""},
    "State": {"Health": None},
    "Config": {
        "Healthcheck": None,
        "ArgsEscaped": False,
        "NetworkDisabled": False,
        "MacAddress": "",
        "StopSignal": "",
        "StopTimeout": None,
        "Shell": None,
        "ExposedPorts": None,
        "OnBuild": None,
        "Labels": {},
        "User": "",
        "WorkingDir": "",
        "Env": None,
        "Cmd": None,
        "Entrypoint": None,
        "Volumes": None,
    },
    "HostConfig": {
        "Annotations": {},
        "Mounts": [],
        "StorageOpt": {},
        "Tmpfs": {},
        "Sysctls": {},
        "Runtime": "",
        "Init": None,
    },
}
# JSON's names and those of Docker's Go types, where they differ.
_GO_NAMES = {
    "Id": "ID",
    "ApiVersion": "APIVersion",
    "CpuShares": "CPUShares",
    "NanoCpus": "NanoCPUs",
    "CpuPeriod": "CPUPeriod",
    "CpuQuota": "CPUQuota",
    "CpuRealtimePeriod": "CPURealtimePeriod",
    "CpuRealtimeRuntime": "CPURealtimeRuntime",
    "CpuCount": "CPUCount",
    "CpuPercent": "CPUPercent",
    "Dns": "DNS",
    "DnsOptions": "DNSOptions",
    "DnsSearch": "DNSSearch",
    "HostIp": "HostIP",
}


def documents(document: dict[str, Any]) -> Iterator[Any]:
    """Yield what a template may be tried on: the document with what JSON leaves out, then with Go's names."""
    whole = {**_LEFT_OUT[None], **document}
    for name, absent in _LEFT_OUT.items():
        if name is not None and isinstance(whole.get(name), dict):
            whole[name] = {**absent, **whole[name]}
    yield _typed(whole, "")
    yield _typed(_renamed(whole), "")


def _typed(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        if name in _STRING_MAPS and all(isinstance(item, str) for item in value.values()):
            return TypedMap(value, "", key_type="string", value_type="string")
        return {key: _typed(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item, "") for item in value]
    return value


def _renamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {_GO_NAMES.get(key, key): _renamed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    return value
