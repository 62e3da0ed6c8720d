"""Kernel parameters of a container: those that belong to one of its own namespaces (sysctl(8), namespaces(7))."""

from __future__ import annotations

from orlop.errors import InvalidArgument
from orlop.runtime import namespaces

__all__ = ["check", "plan"]

_IPC = frozenset(
    "kernel." + name for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)
# A container's own network namespace lets everybody bind low ports and send pings, as the capabilities it has would.
_NETWORK_DEFAULTS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}


def check(sysctls: dict[str, str] | None, spaces: list[dict[str, str]], *, domainname: bool = False) -> None:
    """Raise `InvalidArgument`, with the runtime's text, for a parameter that is not the container's own.

    `spaces` are the container's OCI namespaces; `domainname` says that it has a domain name.
    """
    for name in sysctls or {}:
        if name in _IPC or name.startswith("fs.mqueue."):
            if not namespaces.owned(spaces, "ipc"):
                raise InvalidArgument(f'sysctl "{name}" is not allowed in the hosts ipc namespace')
        elif name.startswith("net."):
            if not any(space["type"] == "network" for space in spaces):
                raise InvalidArgument(f'sysctl "{name}" not allowed in host network namespace')
        elif name == "kernel.domainname":
            if not namespaces.owned(spaces, "uts"):
                raise InvalidArgument(f'sysctl "{name}" is not allowed in the hosts uts namespace')
            if domainname:
                raise InvalidArgument(f'sysctl "{name}" is not allowed as it conflicts with the OCI "domainname" field')
        elif name == "kernel.hostname":
            raise InvalidArgument(f'sysctl "{name}" is not allowed as it conflicts with the OCI "hostname" field')
        else:
            raise InvalidArgument(f'sysctl "{name}" is not in a separate kernel namespace')
        if ".." in name or "/" in name or any(character.isspace() for character in name):
            raise InvalidArgument(f'invalid sysctl "{name}"')


def plan(sysctls: dict[str, str] | None, spaces: list[dict[str, str]], existing: frozenset[str]) -> dict[str, str]:
    """Return all parameters to set; the defaults only in a network namespace of the container's own.

    `existing` are the default parameters that this kernel has.
    """
    defaults = {}
    if namespaces.owned(spaces, "network"):
        defaults = {name: value for name, value in _NETWORK_DEFAULTS.items() if name in existing}
    return {**defaults, **(sysctls or {})}
