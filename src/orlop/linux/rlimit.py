"""Resource limits by the names that the OCI runtime specification uses."""

from __future__ import annotations

import resource

__all__ = ["NUMBERS", "set_limit"]

NUMBERS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}


def set_limit(name: str, soft: int, hard: int) -> None:
    """Set a limit of this process; -1 and 2^64-1 are "unlimited". Raises `OSError`, `KeyError` for an unknown name."""
    try:
        resource.setrlimit(NUMBERS[name], (_value(soft), _value(hard)))
    except ValueError as error:  # the standard library's word for EINVAL and EPERM
        raise OSError(1 if "not allowed" in str(error) else 22, str(error)) from error


def _value(limit: int) -> int:
    return resource.RLIM_INFINITY if limit in (-1, 0xFFFFFFFFFFFFFFFF) else limit
