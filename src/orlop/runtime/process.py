"""The process of a container or of an exec: arguments, environment, user, limits, privileges (OCI ``process``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orlop.errors import InvalidArgument
from orlop.linux import rlimit
from orlop.model.api.container import HostConfig, Ulimit
from orlop.model.record import ContainerRecord

__all__ = ["DEFAULT_PATH", "INIT_PATH", "check_ulimits", "environment", "privileges", "rlimits", "user"]

Json = dict[str, Any]

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INIT_PATH = "/sbin/docker-init"
_UNLIMITED = 0xFFFFFFFFFFFFFFFF  # RLIM_INFINITY


def environment(hostname: str, tty: bool, *layers: Iterable[str]) -> list[str]:
    """Return the environment: PATH, HOSTNAME, with a terminal TERM, then what each layer adds or overrides.

    A variable keeps the place where it came first; one that is named without a value is taken away.

    >>> environment("box", False, ["A=1", "B=2"], ["A=3", "B"])[2:]
    ['A=3']
    """
    variables = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if tty:
        variables["TERM"] = "xterm"
    for layer in layers:
        for text in layer:
            name, separator, value = text.partition("=")
            if separator:
                variables[name] = value
            else:
                variables.pop(name, None)
    return [f"{name}={value}" for name, value in variables.items()]


def user(name: str, groups: Iterable[str] | None) -> Json:
    """Return OCI ``process.user`` with the names that are looked up in the container's own files."""
    answer: Json = {"uid": 0, "gid": 0, "username": name}
    if extra := list(groups or ()):
        answer["additionalGroups"] = extra
    return answer


def rlimits(host: HostConfig, defaults: Mapping[str, Ulimit]) -> list[Json]:
    """Return OCI ``process.rlimits``: what was asked, and the daemon's defaults for the rest; -1 is unlimited."""
    chosen = {limit.name.lower(): limit for limit in (*defaults.values(), *(host.ulimits or ()))}
    return [
        {
            "type": f"RLIMIT_{name.upper()}",
            "soft": _UNLIMITED if limit.soft == -1 else limit.soft,
            "hard": _UNLIMITED if limit.hard == -1 else limit.hard,
        }
        for name, limit in chosen.items()
    ]


def check_ulimits(limits: Iterable[Ulimit] | None) -> None:
    """Raise `InvalidArgument` for a limit that there is not, or a soft one above its hard one."""
    for limit in limits or ():
        if f"RLIMIT_{limit.name.upper()}" not in rlimit.NUMBERS:
            raise InvalidArgument(f"invalid ulimit type: {limit.name}")
        if min(limit.soft, limit.hard) < -1 or max(limit.soft, limit.hard) > _UNLIMITED:
            raise InvalidArgument(f"invalid ulimit argument: {limit.name}={limit.soft}:{limit.hard}")
        if limit.hard != -1 and (limit.soft == -1 or limit.soft > limit.hard):
            raise InvalidArgument(
                f"ulimit soft limit must be less than or equal to hard limit: {limit.soft} > {limit.hard}"
            )


def privileges(capabilities: frozenset[str], *, no_new_privileges: bool, apparmor: str) -> Json:
    """Return the part of OCI ``process`` that says what it may do.

    A process of another user than root loses the effective and permitted sets at execve(2), not the bounding set.
    """
    names = sorted(capabilities)
    answer: Json = {
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
        "noNewPrivileges": no_new_privileges,
    }
    if apparmor:
        answer["apparmorProfile"] = apparmor
    return answer


def arguments(record: ContainerRecord, *, init: bool) -> list[str]:
    """Return the program and its arguments, behind the init program if that is asked for."""
    program = [record.path, *record.args]
    return [INIT_PATH, "--", *program] if init else program
