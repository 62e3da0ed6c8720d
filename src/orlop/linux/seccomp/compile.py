"""Compile an OCI ``linux.seccomp`` to the program that `orlop.linux.seccomp.load` loads, with libseccomp.

libseccomp answers a call that it has no rule for with the default action, mostly EPERM; but a program that tries a
call newer than the profile has to see ENOSYS to fall back on an older one. So, as in runc, a prologue decides before
libseccomp's own instructions: what is above the profile's highest number is ENOSYS. The same prologue carries the
rules for calls that the profile names and an older libseccomp does not know.
"""

from __future__ import annotations

import errno
import importlib
import os
from collections import Counter
from typing import Any

from orlop.errors import Internal, InvalidArgument
from orlop.linux.seccomp.assembler import Calls, prologue
from orlop.linux.seccomp.load import INSTRUCTION_SIZE, MAX_INSTRUCTIONS

__all__ = ["compile_profile"]

Json = dict[str, Any]

_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
_OPERATORS = {
    f"SCMP_CMP_{name}": number for number, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), 1)
}
_ARCHITECTURES = (
    *("X86", "X86_64", "X32", "ARM", "AARCH64", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32"),
    *("PPC", "PPC64", "PPC64LE", "S390", "S390X", "PARISC", "PARISC64", "RISCV64"),
)
_BINARY_TREE = 2  # SCMP_FLTATR_CTL_OPTIMIZE: half of the time that the kernel takes to load a list of rules
_UNKNOWN = -1  # __NR_SCMP_ERROR

# Calls that libseccomp 2.5.4 (Debian 12) has no name for. Since Linux 5.1 a new call has one number everywhere.
_NEWER = {
    name: number
    for number, name in enumerate(
        (
            *("cachestat", "fchmodat2", "map_shadow_stack", "futex_wake", "futex_wait", "futex_requeue"),
            *("statmount", "listmount", "lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules", "mseal"),
            *("setxattrat", "getxattrat", "listxattrat", "removexattrat", "open_tree_attr"),
        ),
        start=451,
    )
}
_NEWER_ON = {("X86_64", "uretprobe"): 335, ("RISCV64", "riscv_hwprobe"): 258}


def compile_profile(seccomp: Json) -> bytes:
    """Return the program: an array of ``struct sock_filter``. Names of calls that nobody knows are skipped.

    Raises `InvalidArgument` for an action, operator or architecture that there is not, and `Internal` when libseccomp
    is missing or the program is longer than the kernel takes.
    """
    library = _library()
    default = _action(seccomp["defaultAction"], seccomp.get("defaultErrnoRet"))
    names = [_architecture(name) for name in seccomp.get("architectures") or ()]
    rules = seccomp.get("syscalls") or []
    built = library.SyscallFilter(default)
    _optimise(library, built)
    for name in names:
        _add_architecture(library, built, name)
    for rule in rules:
        _add_rule(library, built, rule, default)
    program = _prologue(library, seccomp, names, rules) + _export(built)
    if len(program) > MAX_INSTRUCTIONS * INSTRUCTION_SIZE:
        raise Internal(f"the seccomp profile makes more than {MAX_INSTRUCTIONS} instructions")
    return program


def _library() -> Any:
    try:
        return importlib.import_module("pyseccomp")
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise Internal(f"seccomp profiles need libseccomp (Debian: apt-get install libseccomp2): {error}") from error


def _optimise(library: Any, built: Any) -> None:
    try:
        built.set_attr(library.Attr.CTL_OPTIMIZE, _BINARY_TREE)
    except OSError as error:  # libseccomp before 2.5 has no such attribute
        if error.errno not in (errno.EINVAL, errno.EEXIST):
            raise


def _add_architecture(library: Any, built: Any, name: str) -> None:
    try:
        built.add_arch(getattr(library.Arch, name))
    except OSError as error:
        if error.errno != errno.EEXIST:  # the machine's own is there from the start
            raise Internal(
                f"seccomp: libseccomp refuses the architecture SCMP_ARCH_{name}: {error.strerror}"
            ) from error


def _add_rule(library: Any, built: Any, rule: Json, default: int) -> None:
    action = _action(rule["action"], rule.get("errnoRet"))
    if action == default:
        return
    alternatives = _alternatives(library, rule.get("args") or ())
    for name in rule["names"]:
        number = library.resolve_syscall(library.Arch.NATIVE, name)
        if number == _UNKNOWN:
            continue
        for conditions in alternatives:
            try:
                built.add_rule(action, number, *conditions)
            except OSError as error:
                raise Internal(f"seccomp: libseccomp refuses the rule for {name}: {error.strerror}") from error


def _alternatives(library: Any, arguments: Any) -> list[list[Any]]:
    """Return the sets of conditions of a rule, any of which suffices.

    All conditions must hold, unless two are on the same argument: then each stands alone, as in runc.
    """
    conditions = []
    for argument in arguments:
        if argument["op"] not in _OPERATORS:
            raise InvalidArgument(f"invalid seccomp operator: {argument['op']}")
        index, value, second = (argument.get(key, 0) for key in ("index", "value", "valueTwo"))
        if index > 5:
            raise InvalidArgument(f"invalid seccomp argument index: {index}")
        conditions.append(library.Arg(index, _OPERATORS[argument["op"]], value, second))
    indexes = Counter(argument.get("index", 0) for argument in arguments)
    if indexes and max(indexes.values()) > 1:
        return [[condition] for condition in conditions]
    return [conditions]


def _prologue(library: Any, seccomp: Json, names: list[str], rules: list[Json]) -> bytes:
    """Return the instructions that come first; see the head of this module."""
    stub = seccomp["defaultAction"] not in _PERMISSIVE and seccomp.get("defaultErrnoRet") != errno.ENOSYS
    decided: dict[str, int] = {}
    for rule in rules:
        for name in rule["names"]:
            if not rule.get("args"):
                decided[name] = _action(rule["action"], rule.get("errnoRet"))
    named = {name for rule in rules for name in rule["names"]}
    native = _native(library)
    tables: dict[str, Calls] = {}
    for architecture in dict.fromkeys((native, *names)):
        calls = tables[architecture] = Calls()
        token = getattr(library.Arch, architecture)
        bit = 0x40000000 if architecture == "X32" else 0
        for name in named:
            number = library.resolve_syscall(token, name)
            if number == _UNKNOWN:
                newer = _NEWER.get(name, _NEWER_ON.get((architecture, name)))
                if newer is None:
                    continue
                if name in decided:
                    calls.decided[newer] = decided[name]
                number = newer
            calls.last = max(calls.last, number & ~bit if number >= 0 else -1)
        if not stub:
            calls.last = -1
    x32 = tables.pop("X32", None)
    by_audit = {getattr(library.Arch, architecture): calls for architecture, calls in tables.items()}
    return prologue(by_audit, (library.Arch.X86_64, x32) if x32 is not None else None)


def _native(library: Any) -> str:
    token = library.system_arch() & 0xFFFFFFFF
    for name in _ARCHITECTURES:
        if getattr(library.Arch, name) == token:
            return name
    raise Internal(f"seccomp: libseccomp runs on an unknown architecture {token:#x}")


def _export(built: Any) -> bytes:
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    with open(descriptor, "w+b") as file:
        built.export_bpf(file)
        file.seek(0)
        return file.read()


def _architecture(name: str) -> str:
    short = name.removeprefix("SCMP_ARCH_")
    if short not in _ARCHITECTURES:
        raise InvalidArgument(f"invalid seccomp architecture: {name}")
    return short


def _action(name: str, value: int | None) -> int:
    if name == "SCMP_ACT_NOTIFY":
        raise InvalidArgument("seccomp: SCMP_ACT_NOTIFY needs a listener, which Orlop does not have")
    if name not in _ACTIONS:
        raise InvalidArgument(f"invalid seccomp action: {name}")
    if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        return _ACTIONS[name] | ((errno.EPERM if value is None else value) & 0xFFFF)
    return _ACTIONS[name]
