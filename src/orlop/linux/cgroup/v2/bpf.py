"""Device rules on cgroup v2: a BPF program that the kernel asks at each open(2) and mknod(2) of a device.

`program` makes it from rules, purely; `attach` loads it and puts it in the place of an earlier one. The rules mean
what they mean on v1 (Documentation/admin-guide/cgroup-v1/devices.rst): one for everything sets what happens by
default and forgets the others, one for single devices makes an exception, and exceptions for the same device add up.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterable

from orlop.linux.cgroup.device_rules import Rule

__all__ = ["attach", "program", "reduce"]

# bpf_cgroup_dev_ctx: u32 access_type (access << 16 | type), u32 major, u32 minor (linux/bpf.h)
_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL = 7

_LOAD_WORD = 0x61  # dst = *(u32 *)(src + off)
_MOVE_REGISTER = 0xBC  # 32 bit, as all below
_MOVE_NUMBER = 0xB4
_AND = 0x54
_SHIFT_RIGHT = 0x74
_JUMP_IF_NOT_EQUAL = 0x56
_JUMP_IF_EQUAL = 0x16
_EXIT = 0x95
_RESULT, _SCRATCH, _TYPE, _ASKED, _MAJOR, _MINOR = range(6)  # registers; r1 is the context at first

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_CGROUP_DEVICE_PROGRAM = 15  # BPF_PROG_TYPE_CGROUP_DEVICE
_CGROUP_DEVICE_ATTACH = 6  # BPF_CGROUP_DEVICE
_SYS_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "s390x": 351, "ppc64le": 361}
_ALLOW_MULTI, _REPLACE = 2, 4
_MAX_PROGRAMS = 64
_LOG_SIZE = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)

_Key = tuple[str, int | None, int | None]
_Instruction = tuple[int, int, int, int, int]  # code, dst, src, off, imm


def reduce(rules: Iterable[Rule]) -> tuple[bool, dict[_Key, int]]:
    """Return what holds by default, and the exceptions: the accesses of a device for which the opposite holds."""
    default, exceptions = True, dict[_Key, int]()
    for rule in rules:
        if rule.everything:
            default, exceptions = rule.allow, {}
            continue
        key, bits = (rule.type, rule.major, rule.minor), sum(_ACCESS[letter] for letter in rule.access)
        before = exceptions.pop(key, 0)
        after = before & ~bits if rule.allow == default else before | bits
        if after:
            exceptions[key] = after
    return default, exceptions


def program(rules: Iterable[Rule]) -> bytes:
    """Return the program (an array of ``struct bpf_insn``); empty when everything is allowed.

    An access that asks for several things at once needs one exception that allows them all; with everything allowed
    by default, one exception that is met in part forbids it: as the kernel does on v1.
    """
    default, exceptions = reduce(rules)
    if default and not exceptions:
        return b""
    instructions: list[_Instruction] = [
        (_LOAD_WORD, _TYPE, 1, 0, 0),
        (_LOAD_WORD, _MAJOR, 1, 4, 0),
        (_LOAD_WORD, _MINOR, 1, 8, 0),
        (_MOVE_REGISTER, _ASKED, _TYPE, 0, 0),
        (_SHIFT_RIGHT, _ASKED, 0, 0, 16),
        (_AND, _TYPE, 0, 0, 0xFFFF),
    ]
    for (kind, major, minor), bits in exceptions.items():
        instructions += _exception(default, kind, major, minor, bits)
    instructions += [(_MOVE_NUMBER, _RESULT, 0, 0, int(default)), (_EXIT, 0, 0, 0, 0)]
    return b"".join(
        struct.pack("=BBhi", code, destination | source << 4, offset, _signed(number))
        for code, destination, source, offset, number in instructions
    )


def attach(directory: str, instructions: bytes) -> None:
    """Load a program and attach it to the cgroup `directory`, in the place of those that are there.

    Raises `OSError`; when the verifier refuses the program its reasons are a note of the error.
    """
    loaded = _load(instructions)
    try:
        cgroup = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _replace(cgroup, loaded)
        finally:
            os.close(cgroup)
    finally:
        os.close(loaded)


def _exception(default: bool, kind: str, major: int | None, minor: int | None, bits: int) -> list[_Instruction]:
    """Return the instructions that leave with the opposite of `default` if this exception is met."""
    tests: list[_Instruction] = []
    wanted = ((_TYPE, _TYPES[kind]), (_MAJOR, major), (_MINOR, minor))
    comparisons = [(register, number) for register, number in wanted if number is not None]
    partial = bits != _ALL
    size = len(comparisons) + (3 if partial else 0) + 2
    for register, number in comparisons:
        tests.append((_JUMP_IF_NOT_EQUAL, register, 0, size - len(tests) - 1, number))
    if partial:
        # Allowed are accesses that ask for nothing else; forbidden are those that ask for any of it.
        mask, skip = (bits, _JUMP_IF_EQUAL) if default else (_ALL & ~bits, _JUMP_IF_NOT_EQUAL)
        tests.append((_MOVE_REGISTER, _SCRATCH, _ASKED, 0, 0))
        tests.append((_AND, _SCRATCH, 0, 0, mask))
        tests.append((skip, _SCRATCH, 0, 2, 0))
    return [*tests, (_MOVE_NUMBER, _RESULT, 0, 0, int(not default)), (_EXIT, 0, 0, 0, 0)]


def _signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number


def _load(instructions: bytes) -> int:
    code = ctypes.create_string_buffer(instructions, len(instructions))
    license = ctypes.create_string_buffer(b"Apache")
    try:
        return _bpf(_PROG_LOAD, _load_attributes(code, license))
    except OSError as error:
        log = ctypes.create_string_buffer(_LOG_SIZE)
        try:
            return _bpf(_PROG_LOAD, _load_attributes(code, license, log))
        except OSError:
            error.add_note(log.value.decode(errors="replace"))
        raise


def _load_attributes(
    code: ctypes.Array[ctypes.c_char],
    license: ctypes.Array[ctypes.c_char],
    log: ctypes.Array[ctypes.c_char] | None = None,
) -> bytes:
    return struct.pack(
        "=IIQQIIQII16s",
        _CGROUP_DEVICE_PROGRAM,
        len(code) // 8,
        ctypes.addressof(code),
        ctypes.addressof(license),
        1 if log is not None else 0,
        len(log) if log is not None else 0,
        ctypes.addressof(log) if log is not None else 0,
        0,
        0,
        b"orlop_devices",
    )


def _replace(cgroup: int, loaded: int) -> None:
    ids = _attached(cgroup)
    if len(ids) == 1:
        old = _bpf(_PROG_GET_FD_BY_ID, struct.pack("=II", ids[0], 0))
        try:
            _bpf(_PROG_ATTACH, _attach_attributes(cgroup, loaded, _ALLOW_MULTI | _REPLACE, old))
        finally:
            os.close(old)
        return
    _bpf(_PROG_ATTACH, _attach_attributes(cgroup, loaded, _ALLOW_MULTI))
    for identity in ids:
        old = _bpf(_PROG_GET_FD_BY_ID, struct.pack("=II", identity, 0))
        try:
            _bpf(_PROG_DETACH, _attach_attributes(cgroup, old, 0))
        finally:
            os.close(old)


def _attached(cgroup: int) -> list[int]:
    """Return the ids of the device programs of the cgroup itself."""
    ids = (ctypes.c_uint32 * _MAX_PROGRAMS)()
    query = struct.pack("=IIIIQI", cgroup, _CGROUP_DEVICE_ATTACH, 0, 0, ctypes.addressof(ids), _MAX_PROGRAMS)
    attributes = ctypes.create_string_buffer(query, len(query))
    _call(_PROG_QUERY, attributes)
    (count,) = struct.unpack_from("=I", attributes.raw, 24)
    return list(ids[:count])


def _attach_attributes(cgroup: int, loaded: int, flags: int, replaced: int = 0) -> bytes:
    return struct.pack("=IIIII", cgroup, loaded, _CGROUP_DEVICE_ATTACH, flags, replaced)


def _bpf(command: int, attributes: bytes) -> int:
    return _call(command, ctypes.create_string_buffer(attributes, len(attributes)))


def _call(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    """bpf(2); the kernel may write to `attributes`."""
    number = ctypes.c_long(_SYS_BPF[platform.machine()])
    result: int = _libc.syscall(number, ctypes.c_int(command), attributes, ctypes.c_uint(len(attributes)))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf {command}: {os.strerror(error)}")
    return result
