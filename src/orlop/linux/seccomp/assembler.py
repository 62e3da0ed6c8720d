"""Classic BPF as seccomp(2) takes it: just what is needed to put a prologue before libseccomp's program."""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ALLOW", "ERRNO", "X32_BIT", "Calls", "prologue"]

ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW
ERRNO = 0x00050000  # SECCOMP_RET_ERRNO, with the error in the low 16 bits
X32_BIT = 0x40000000  # set in the number of a call of the x32 ABI, which shares its architecture with x86-64

_LOAD = 0x20  # ld [k]
_EQUAL = 0x15  # jeq #k
_GREATER = 0x25  # jgt #k
_GREATER_OR_EQUAL = 0x35  # jge #k
_JUMP = 0x05  # ja k
_RETURN = 0x06  # ret #k
_NUMBER_OFFSET = 0  # in struct seccomp_data
_ARCHITECTURE_OFFSET = 4

_Instruction = tuple[int, int, int, int]


@dataclass(slots=True)
class Calls:
    """What is decided for an ABI before the program proper: single numbers, and ENOSYS for all above `last`."""

    last: int = -1
    decided: dict[int, int] = field(default_factory=dict)  # number → value to return


def prologue(architectures: Mapping[int, Calls], x32: tuple[int, Calls] | None = None) -> bytes:
    """Return instructions that decide what `architectures` (by AUDIT_ARCH_… value) say, and else fall through.

    `x32` names the architecture that the x32 ABI shares, and its calls, whose numbers have `X32_BIT` set.
    """
    sections = []
    for architecture, calls in architectures.items():
        body = _decide(calls, 0)
        if x32 is not None and x32[0] == architecture:
            body = [_conditional(_GREATER_OR_EQUAL, X32_BIT, len(body) + 1), *body]
            sections.append((architecture, body, _decide(x32[1], X32_BIT)))
        else:
            sections.append((architecture, body, []))
    program: list[_Instruction] = [(_LOAD, 0, 0, _ARCHITECTURE_OFFSET)]
    sizes = [3 + len(body) + len(second) + (1 if second else 0) for _, body, second in sections]
    for position, (architecture, body, second) in enumerate(sections):
        after = sum(sizes[position + 1 :])
        program.append((_EQUAL, 0, sizes[position] - 1, architecture))
        program.append((_LOAD, 0, 0, _NUMBER_OFFSET))
        program += body
        if second:
            program.append((_JUMP, 0, 0, after + len(second) + 1))
            program += second
        program.append((_JUMP, 0, 0, after))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _decide(calls: Calls, bit: int) -> list[_Instruction]:
    instructions = []
    for number, value in sorted(calls.decided.items()):
        instructions += [_conditional(_EQUAL, number | bit, 0, otherwise=1), (_RETURN, 0, 0, value)]
    if calls.last >= 0:
        instructions += [_conditional(_GREATER, calls.last | bit, 0, otherwise=1)]
        instructions += [(_RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    if not instructions:
        return []
    # Nearly every call that is made has a lower number than those: it passes with one comparison.
    lowest = min((*calls.decided, *([calls.last] if calls.last >= 0 else ())))
    return [_conditional(_GREATER_OR_EQUAL, lowest | bit, 0, otherwise=len(instructions)), *instructions]


def _conditional(code: int, value: int, then: int, otherwise: int = 0) -> _Instruction:
    if max(then, otherwise) > 255:
        raise ValueError("a conditional jump in BPF goes 255 instructions at most")
    return (code, then, otherwise, value)
