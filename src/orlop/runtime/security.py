"""What holds a container's processes back: capabilities, seccomp, AppArmor, masked and read-only paths.

`options` reads ``HostConfig.SecurityOpt``; the other functions say what follows from it. Nothing here does I/O but
`compiled`, which calls libseccomp and keeps what it made.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Any

from orlop.errors import InvalidArgument
from orlop.linux.capability import DEFAULT, NAMES
from orlop.linux.seccomp import compile as compiler
from orlop.linux.seccomp import profile
from orlop.model.api.container import HostConfig
from orlop.runtime import apparmor as apparmor_profile
from orlop.runtime.facts import HostFacts

__all__ = [
    "MASKED_PATHS",
    "READONLY_PATHS",
    "SecurityOptions",
    "apparmor",
    "capabilities",
    "check",
    "compiled",
    "masked_paths",
    "options",
    "program_for",
    "readonly_paths",
    "seccomp",
]

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
"""Hidden from a container, in Docker's order, which clients see; `masked_paths` adds the thermal counters that this
machine's processors have."""

READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

UNCONFINED = "unconfined"
_PROGRAMS = 64  # compiled programs that are kept, of about 8 KiB each


@dataclass(frozen=True, slots=True)
class SecurityOptions:
    """``SecurityOpt``, parsed. `seccomp` is a profile's JSON, ``unconfined``, ``builtin``, or empty for the default."""

    no_new_privileges: bool = False
    apparmor: str = ""
    seccomp: str = ""
    writable_cgroups: bool = False
    unmasked: bool = False  # systempaths=unconfined


def options(texts: Iterable[str] | None, *, no_new_privileges: bool = False) -> SecurityOptions:
    """Parse ``SecurityOpt``; `no_new_privileges` is the daemon's default. Raises `InvalidArgument`.

    SELinux labels are accepted and mean nothing, as with a dockerd whose SELinux support is off.
    """
    apparmor = seccomp = ""
    writable_cgroups = unmasked = False
    for text in texts or ():
        if text == "no-new-privileges":
            no_new_privileges = True
            continue
        if text == "writable-cgroups":
            writable_cgroups = True
            continue
        if text == "disable":
            continue
        key, separator, value = text.partition("=")
        if not separator:
            key, separator, value = text.partition(":")
        if not separator:
            raise InvalidArgument(f'invalid --security-opt 1: "{text}"')
        match key:
            case "label":
                continue
            case "apparmor":
                apparmor = value
            case "seccomp":
                seccomp = value
            case "no-new-privileges":
                no_new_privileges = _boolean(value, text)
            case "writable-cgroups" if value in ("true", "false"):
                writable_cgroups = value == "true"
            case "systempaths" if value == UNCONFINED:
                unmasked = True
            case _:
                raise InvalidArgument(f'invalid --security-opt 2: "{text}"')
    return SecurityOptions(no_new_privileges, apparmor, seccomp, writable_cgroups, unmasked)


def check(host: HostConfig) -> None:
    """Raise `InvalidArgument` for an unknown capability or security option, or a seccomp profile that is none."""
    for field, names in (("CapAdd", host.cap_add), ("CapDrop", host.cap_drop)):
        for name in names or ():
            normal = _normal(name)
            if normal != "ALL" and normal not in NAMES:
                raise InvalidArgument(f'invalid {field}: unknown capability: "{normal}"')
    chosen = options(host.security_opt)
    if chosen.seccomp not in ("", UNCONFINED, "builtin"):
        profile.parse(chosen.seccomp)


def capabilities(host: HostConfig, facts: HostFacts) -> frozenset[str]:
    """Return the capabilities that a container's processes may have; none that the daemon itself lacks.

    A privileged container has all. Else ``ALL`` added wins over ``ALL`` dropped, and a single one that is added wins
    over a single one that is dropped, as with dockerd.
    """
    if host.privileged:
        return facts.capabilities
    added = {_normal(name) for name in host.cap_add or ()}
    dropped = {_normal(name) for name in host.cap_drop or ()}
    wanted: Set[str]
    if "ALL" in added:
        wanted = set(NAMES) - dropped
    elif "ALL" in dropped:
        wanted = added
    else:
        wanted = (DEFAULT - dropped) | added
    return facts.capabilities & wanted


def seccomp(host: HostConfig, facts: HostFacts, default: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Return the container's OCI ``linux.seccomp``; None when it is unconfined.

    `default` is the daemon's own profile in Docker's format, if it has one. Raises `InvalidArgument`.
    """
    chosen = options(host.security_opt).seccomp
    if not facts.seccomp:
        if chosen not in ("", UNCONFINED):
            raise InvalidArgument("seccomp is not enabled in your kernel, cannot run a custom seccomp profile")
        return None
    # Privileged containers are unconfined unless a profile is named.
    if chosen == UNCONFINED or (host.privileged and not chosen):
        return None
    allowed = capabilities(host, facts)
    if chosen in ("", "builtin") and (default is None or chosen):
        return _builtin(allowed, facts.kernel, facts.architecture)
    document = profile.parse(chosen) if chosen else default or {}
    return profile.resolve(document, allowed, facts.kernel, facts.architecture)


@functools.lru_cache(maxsize=_PROGRAMS)
def _builtin(allowed: frozenset[str], kernel: tuple[int, int], machine: str) -> dict[str, Any] | None:
    """Return the built-in profile for a set of capabilities: one object for each, which nobody changes."""
    return profile.resolve(profile.DEFAULT, allowed, kernel, machine)


def apparmor(host: HostConfig, facts: HostFacts) -> str:
    """Return the name of the AppArmor profile to enter; empty where the kernel has no AppArmor."""
    if not facts.apparmor:
        return ""
    chosen = options(host.security_opt).apparmor
    return chosen or (UNCONFINED if host.privileged else apparmor_profile.NAME)


def compiled(seccomp: dict[str, Any]) -> bytes:
    """Return the program of an OCI ``linux.seccomp``, kept if made before. Raises `Internal` without libseccomp."""
    known = _of_object.get(id(seccomp))
    if known is not None and known[0] is seccomp:
        return known[1]
    program = program_for(json.dumps(seccomp, sort_keys=True))
    if len(_of_object) >= _PROGRAMS:
        _of_object.clear()
    _of_object[id(seccomp)] = (seccomp, program)
    return program


_of_object: dict[int, tuple[dict[str, Any], bytes]] = {}
"""The programs of profiles that are one object (`_builtin`), found without writing them out as JSON."""


@functools.lru_cache(maxsize=_PROGRAMS)
def program_for(seccomp: str) -> bytes:
    """Return the program of an OCI ``linux.seccomp`` in JSON, which is its own key: capabilities are resolved in it."""
    return compiler.compile_profile(json.loads(seccomp))


def masked_paths(host: HostConfig, facts: HostFacts) -> list[str]:
    """Return the paths to hide: what was asked for, else the default with the machine's thermal counters."""
    if host.privileged or options(host.security_opt).unmasked:
        return []
    if host.masked_paths is not None and tuple(host.masked_paths) != MASKED_PATHS:
        return list(host.masked_paths)
    return [*MASKED_PATHS, *facts.thermal_paths]


def readonly_paths(host: HostConfig) -> list[str]:
    """Return the paths that can be read alone: what was asked for, else the default."""
    if host.privileged or options(host.security_opt).unmasked:
        return []
    return list(READONLY_PATHS if host.readonly_paths is None else host.readonly_paths)


def _normal(name: str) -> str:
    upper = name.strip().upper()
    return upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"


_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def _boolean(value: str, text: str) -> bool:
    if value not in _BOOLEANS:
        raise InvalidArgument(f'invalid --security-opt 2: "{text}"')
    return _BOOLEANS[value]
