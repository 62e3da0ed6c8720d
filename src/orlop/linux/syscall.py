"""System calls by number, for those that neither the standard library nor every libc offers.

`call` is the one place where a number meets the kernel. An integer is passed as a long, bytes as a pointer that the
kernel reads, a ctypes buffer as a pointer that it may write to, None as a null pointer. Errors are `OSError`.
"""

from __future__ import annotations

import ctypes
import os
import platform

__all__ = [
    "AT_EMPTY_PATH",
    "AT_FDCWD",
    "AT_RECURSIVE",
    "AT_SYMLINK_NOFOLLOW",
    "NUMBERS",
    "Argument",
    "call",
    "function",
]

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

Argument = int | bytes | ctypes.Array[ctypes.c_char] | ctypes.Structure | None

# Calls since Linux 5.2 have one number on every architecture; the older ones are named per architecture.
NUMBERS = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "pidfd_open": 434,
    "close_range": 436,
    "openat2": 437,
    "pidfd_getfd": 438,
    "faccessat2": 439,
    "mount_setattr": 442,
}
_OLDER = ("pivot_root", "getcwd", "keyctl", "clone", "signalfd4", "setsid", "prctl", "ioctl")
_GENERIC = (41, 17, 219, 220, 74, 157, 167, 29)
_BY_MACHINE = {"x86_64": (155, 79, 250, 56, 289, 112, 157, 16), "aarch64": _GENERIC, "riscv64": _GENERIC}
NUMBERS.update(zip(_OLDER, _BY_MACHINE.get(platform.machine(), ()), strict=False))

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


def call(name: str, *arguments: Argument) -> int:
    """Make the system call `name` and return its result. Raises `OSError`; ENOSYS if the kernel has no such call."""
    number = NUMBERS.get(name)
    if number is None:
        raise OSError(38, f"{name}: no number known on {platform.machine()}")
    converted = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result: int = _syscall(ctypes.c_long(number), *converted)
    if result < 0:
        _fail(name)
    return result


class function:
    """A function of libc that returns a negative int and sets errno on failure.

    >>> function("sched_yield")()
    0
    """

    __slots__ = ("_function", "_name")

    def __init__(self, name: str, *types: type) -> None:
        self._name = name
        self._function = _libc[name]  # a new object: attributes would be shared by all users of the name
        self._function.argtypes = types
        self._function.restype = ctypes.c_int

    def __call__(self, *arguments: Argument) -> int:
        result: int = self._function(*arguments)
        if result < 0:
            _fail(self._name)
        return result


def _fail(name: str) -> None:
    number = ctypes.get_errno()
    error = OSError(number, os.strerror(number))
    error.add_note(name)
    raise error
