"""Devices of a container: the host's that it gets as nodes, and the rules of what it may do with any.

`host_devices` looks at the host; everything else is pure and is handed a function like it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from orlop.errors import Internal, InvalidArgument
from orlop.model.api.container import DeviceMapping, DeviceRequest, HostConfig

__all__ = ["DEFAULT_RULES", "DeviceLister", "HostDevice", "check", "host_devices", "number", "plan"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class HostDevice:
    """A device node of the host; `type` is ``c`` or ``b``, `mode` the permission bits."""

    path: str
    type: str
    major: int
    minor: int
    mode: int = 0o600
    uid: int = 0
    gid: int = 0


DeviceLister = Callable[[str], Sequence[HostDevice]]
"""Returns the device at a path, or all below a directory. Raises `OSError`."""

# Not the host's devices but the container's own, or no devices at all.
_SKIPPED_DIRECTORIES = frozenset(("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"))
_SKIPPED_FILES = frozenset(("console", "ptmx"))


def host_devices(path: str) -> list[HostDevice]:
    """Return the device at `path` (a symbolic link is followed), or all devices below it if it is a directory.

    Raises `OSError`: ENOENT, or ENODEV for a file that is no device.
    """
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        return [_device(path, status)]
    return [_device(found, found_status) for found, found_status in _walk(path)]


def number(path: str) -> tuple[int, int]:
    """Return the major and minor number of the device at `path`. Raises `OSError`."""
    status = os.stat(path)
    return os.major(status.st_rdev), os.minor(status.st_rdev)


def _walk(directory: str) -> Iterable[tuple[str, os.stat_result]]:
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _SKIPPED_DIRECTORIES:
                    yield from _walk(entry.path)
            elif entry.name not in _SKIPPED_FILES:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                    yield entry.path, status


def _device(path: str, status: os.stat_result) -> HostDevice:
    if stat.S_ISCHR(status.st_mode):
        kind = "c"
    elif stat.S_ISBLK(status.st_mode):
        kind = "b"
    else:
        raise OSError(19, "not a device node", path)
    major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    return HostDevice(path, kind, major, minor, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def _rule(allow: bool, kind: str, major: int | None, minor: int | None, access: str = "rwm") -> Json:
    rule: Json = {"allow": allow, "type": kind, "access": access}
    if major is not None:
        rule["major"] = major
    if minor is not None:
        rule["minor"] = minor
    return rule


DEFAULT_RULES: tuple[Json, ...] = (
    {"allow": False, "access": "rwm"},
    _rule(True, "c", None, None, "m"),
    _rule(True, "b", None, None, "m"),
    *(_rule(True, "c", 1, minor) for minor in (3, 5, 7, 8, 9)),  # null, zero, full, random, urandom
    *(_rule(True, "c", 5, minor) for minor in (0, 1, 2)),  # tty, console, ptmx
    _rule(True, "c", 136, None),  # pts/*
)
"""Deny everything, then allow what every container has; nodes may be made, but that does not open them."""

_CGROUP_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")


def check(host: HostConfig) -> None:
    """Raise `InvalidArgument` for permissions or a device rule that are none."""
    for mapping in host.devices or ():
        if not set(mapping.cgroup_permissions) <= set("rwm"):
            raise InvalidArgument(f"invalid device mode: {mapping.cgroup_permissions}")
        if not mapping.path_on_host:
            raise InvalidArgument("device path on the host is empty")
    for text in host.device_cgroup_rules or ():
        _parse_rule(text)


def plan(host: HostConfig, lister: DeviceLister) -> tuple[list[Json], list[Json]]:
    """Return OCI ``linux.devices`` and ``linux.resources.devices``.

    Raises `Internal` with dockerd's text for a device that is not there, and for a request to a device driver.
    """
    _refuse_requests(host.device_requests or ())
    nodes: list[Json] = []
    if host.privileged:
        nodes += [_node(device, device.path) for device in lister("/dev")]
        for mapping in host.devices or ():
            if mapping.path_on_host != mapping.path_in_container:
                nodes += [_node(device, path) for device, path in _mapped(mapping, lister)]
        return nodes, [{"allow": True, "access": "rwm"}]
    rules = [dict(rule) for rule in DEFAULT_RULES]
    for mapping in host.devices or ():
        access = mapping.cgroup_permissions or "rwm"
        for device, path in _mapped(mapping, lister):
            nodes.append(_node(device, path))
            rules.append(_rule(True, device.type, device.major, device.minor, access))
    rules += [_parse_rule(text) for text in host.device_cgroup_rules or ()]
    return nodes, rules


def _mapped(mapping: DeviceMapping, lister: DeviceLister) -> list[tuple[HostDevice, str]]:
    """Return a mapping's devices, each with its path in the container."""
    source = mapping.path_on_host.rstrip("/") or "/"
    target = (mapping.path_in_container or mapping.path_on_host).rstrip("/")
    try:
        devices = lister(source)
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise Internal(
            f'error gathering device information while adding custom device "{mapping.path_on_host}": {reason}'
        ) from error
    if not devices:
        raise Internal(
            f'error gathering device information while adding custom device "{mapping.path_on_host}": not a device node'
        )
    return [(device, target + device.path.removeprefix(source)) for device in devices]


def _node(device: HostDevice, path: str) -> Json:
    return {
        "path": path,
        "type": device.type,
        "major": device.major,
        "minor": device.minor,
        "fileMode": device.mode,
        "uid": device.uid,
        "gid": device.gid,
    }


def _parse_rule(text: str) -> Json:
    match = _CGROUP_RULE.fullmatch(text)
    if match is None:
        raise InvalidArgument(f"invalid device cgroup rule format: '{text}'")
    kind, major, minor, access = match.groups()
    numbers = [None if part == "*" else int(part) for part in (major, minor)]
    if any(part is not None and part >= 1 << 32 for part in numbers):
        raise InvalidArgument(f"invalid device cgroup rule format: '{text}'")
    return _rule(True, kind, numbers[0], numbers[1], "".join(sorted(set(access), key="rwm".index)))


def _refuse_requests(requests: Iterable[DeviceRequest]) -> None:
    for request in requests:
        # As Go prints a list of lists.
        sets = " ".join(f"[{' '.join(names)}]" for names in request.capabilities or ())
        raise Internal(f'could not select device driver "{request.driver}" with capabilities: [{sets}]')
