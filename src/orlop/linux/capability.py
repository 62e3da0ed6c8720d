"""Capabilities (capabilities(7)): names, numbers, and putting a process's five sets in place.

Names are the kernel's with their prefix (``CAP_CHOWN``), sets are frozen sets of names. A process that is about to
become a container's calls, in this order: `keep_across_setuid`, setgroups, setgid, setuid, `apply`, execve.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "DEFAULT",
    "NAMES",
    "apply",
    "bounding",
    "keep_across_setuid",
    "mask",
    "names",
    "number",
    "raise_effective",
]

# In the order of their numbers (linux/capability.h).
_ALL = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT "
    "SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE "
    "AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ "
    "PERFMON BPF CHECKPOINT_RESTORE"
)
NAMES = tuple("CAP_" + name for name in _ALL.split())
_NUMBERS = {name: number for number, name in enumerate(NAMES)}

# What a container gets when nothing else is asked: Docker's fourteen.
_DOCKER = (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT "
    "KILL AUDIT_WRITE"
)
DEFAULT = frozenset("CAP_" + name for name in _DOCKER.split())

_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def number(name: str) -> int:
    """Return the number of the capability `name`. Raises `KeyError` for a name that is not in `NAMES`."""
    return _NUMBERS[name]


def mask(capabilities: Iterable[str]) -> int:
    """Return the bit mask of a set of names."""
    bits = 0
    for name in capabilities:
        bits |= 1 << _NUMBERS[name]
    return bits


def names(bits: int) -> frozenset[str]:
    """Return the names of the bits of a mask; bits without a name are left out."""
    return frozenset(name for name, number in _NUMBERS.items() if bits >> number & 1)


def bounding(status: str | None = None) -> frozenset[str]:
    """Return the calling process's bounding set, from proc(5) ``/proc/self/status`` (or the given text of it)."""
    text = Path("/proc/self/status").read_text() if status is None else status
    for line in text.splitlines():
        if line.startswith("CapBnd:"):
            return names(int(line.split()[1], 16))
    raise ValueError("no CapBnd in the status of the process")


def keep_across_setuid() -> None:
    """Let the permitted set survive the coming setuid(2) from root to another user (PR_SET_KEEPCAPS)."""
    _prctl(_PR_SET_KEEPCAPS, 1)


def raise_effective() -> None:
    """Make every permitted capability effective: a setuid(2) away from root empties the effective set."""
    _, permitted, inheritable = _capget()
    _capset(permitted, permitted, inheritable)


def apply(
    bounding: frozenset[str],
    effective: frozenset[str],
    permitted: frozenset[str],
    inheritable: frozenset[str] = frozenset(),
    ambient: frozenset[str] = frozenset(),
) -> None:
    """Set the calling thread's capabilities; what the process itself does not have is left out.

    The bounding set only ever shrinks. Effective is cut to permitted; ambient to permitted and inheritable, as
    capabilities(7) demands. Raises `OSError`, with CAP_SETPCAP missing for instance.
    """
    _, held, _ = _capget()
    raise_effective()
    for name, number in _NUMBERS.items():
        if name not in bounding and _capbset_read(number):
            _prctl(_PR_CAPBSET_DROP, number)
    final = mask(permitted) & held
    kept = mask(inheritable) & held
    _capset(mask(effective) & final, final, kept)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for name in sorted(ambient):
        if (final & kept) >> _NUMBERS[name] & 1:
            _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _NUMBERS[name])


def _capbset_read(number: int) -> bool:
    # EINVAL: a capability that this kernel does not have yet, so that nobody can hold it.
    return bool(_libc.prctl(_PR_CAPBSET_READ, ctypes.c_ulong(number), *_ZEROES) == 1)


_ZEROES = (ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


def _prctl(option: int, argument2: int, argument3: int = 0) -> None:
    arguments = (ctypes.c_ulong(argument2), ctypes.c_ulong(argument3), ctypes.c_ulong(0), ctypes.c_ulong(0))
    if _libc.prctl(option, *arguments) < 0:
        _fail(f"prctl {option}")


def _capget() -> tuple[int, int, int]:
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    if _libc.capget(ctypes.byref(header), data) < 0:
        _fail("capget")
    return (
        data[0].effective | data[1].effective << 32,
        data[0].permitted | data[1].permitted << 32,
        data[0].inheritable | data[1].inheritable << 32,
    )


def _capset(effective: int, permitted: int, inheritable: int) -> None:
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    for word in (0, 1):
        data[word].effective = effective >> 32 * word & 0xFFFFFFFF
        data[word].permitted = permitted >> 32 * word & 0xFFFFFFFF
        data[word].inheritable = inheritable >> 32 * word & 0xFFFFFFFF
    if _libc.capset(ctypes.byref(header), data) < 0:
        _fail("capset")


def _fail(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")
