"""What a seccomp program would say of a call, without making it: classic BPF, as far as such programs use it."""

from __future__ import annotations

import platform
import struct

__all__ = ["ALLOW", "LOG", "lets_pass", "verdict"]

ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW
LOG = 0x7FFC0000  # SECCOMP_RET_LOG: passes as well

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3}  # AUDIT_ARCH_…
_DATA = struct.Struct("=iIQ6Q")  # struct seccomp_data: number, architecture, instruction pointer, arguments
_INSTRUCTION = struct.Struct("=HBBI")
_WORD = struct.Struct("=I")

_LOAD, _AND, _RETURN, _JUMP = 0x20, 0x54, 0x06, 0x05
_CONDITIONS = {
    0x15: lambda a, k: a == k,
    0x25: lambda a, k: a > k,
    0x35: lambda a, k: a >= k,
    0x45: lambda a, k: a & k,
}


def verdict(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """Return the program's value for a call with at most six arguments. Raises `ValueError` for what it cannot read.

    `program` is an array of ``struct sock_filter``, as `load` takes it (bpf(2), seccomp(2)).
    """
    data = _DATA.pack(number, architecture, 0, *arguments, *(0,) * (6 - len(arguments)))
    accumulator = position = 0
    try:
        while True:
            code, then, otherwise, value = _INSTRUCTION.unpack_from(program, position * _INSTRUCTION.size)
            position += 1
            if code == _LOAD:
                (accumulator,) = _WORD.unpack_from(data, value)
            elif code in _CONDITIONS:
                position += then if _CONDITIONS[code](accumulator, value) else otherwise
            elif code == _AND:
                accumulator &= value
            elif code == _JUMP:
                position += value
            elif code == _RETURN:
                return int(value)
            else:
                raise ValueError(f"instruction {code:#x} of a seccomp program")
    except struct.error as error:
        raise ValueError("a seccomp program that runs out of itself") from error


def lets_pass(program: bytes, number: int, *arguments: int) -> bool:
    """Say whether this machine's call `number` would be made; False when nobody knows."""
    architecture = _ARCHITECTURES.get(platform.machine())
    if architecture is None:
        return False
    try:
        return verdict(program, architecture, number, *arguments) in (ALLOW, LOG)
    except ValueError:
        return False
