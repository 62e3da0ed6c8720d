"""Load a compiled seccomp program into the calling thread. Imports nothing but ctypes: it runs after a fork."""

from __future__ import annotations

import ctypes
import os
import platform

__all__ = ["INSTRUCTION_SIZE", "MAX_INSTRUCTIONS", "load", "set_no_new_privileges"]

INSTRUCTION_SIZE = 8  # struct sock_filter
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS

_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_FILTER_FLAG_SPEC_ALLOW = 1 << 2
_PR_SET_NO_NEW_PRIVS = 38
_SYS_SECCOMP = {"x86_64": 317, "aarch64": 277, "riscv64": 277, "s390x": 348, "ppc64le": 358, "armv7l": 383}

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def load(program: bytes) -> None:
    """Put the calling thread and its children under `program` (an array of ``struct sock_filter``), for ever.

    Needs CAP_SYS_ADMIN or `set_no_new_privileges` before it. Speculation is left as it is (SPEC_ALLOW), as runc does.
    Raises `OSError`: EACCES without the privilege, EINVAL for a program that the kernel rejects.
    """
    count, rest = divmod(len(program), INSTRUCTION_SIZE)
    if rest or not 0 < count <= MAX_INSTRUCTIONS:
        raise ValueError(f"a seccomp program of {len(program)} bytes")
    argument = _Program(count, program)
    number = ctypes.c_long(_SYS_SECCOMP[platform.machine()])
    flags = ctypes.c_uint(_SECCOMP_FILTER_FLAG_SPEC_ALLOW)
    if _libc.syscall(number, ctypes.c_uint(_SECCOMP_SET_MODE_FILTER), flags, ctypes.byref(argument)) < 0:
        _fail("seccomp")


def set_no_new_privileges() -> None:
    """Forbid the thread and its children to gain privileges by execve(2) (PR_SET_NO_NEW_PRIVS)."""
    zero = ctypes.c_ulong(0)
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) < 0:
        _fail("prctl PR_SET_NO_NEW_PRIVS")


def _fail(what: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")
