"""Compiled programs, run by `verdict`, which is an interpreter of the kernel's classic BPF."""

from __future__ import annotations

import errno
import struct
from typing import Any

import pytest

from orlop.errors import InvalidArgument
from orlop.linux import capability
from orlop.linux.seccomp import assembler, profile
from orlop.linux.seccomp.compile import compile_profile
from orlop.linux.seccomp.verdict import verdict as run

pyseccomp = pytest.importorskip("pyseccomp", reason="needs libseccomp", exc_type=(ImportError, RuntimeError))

ALLOW = 0x7FFF0000
EPERM = 0x00050000 | errno.EPERM
ENOSYS = 0x00050000 | errno.ENOSYS
X86_64, X86, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7


def compiled(*capabilities: str) -> bytes:
    resolved = profile.resolve(profile.DEFAULT, frozenset(capabilities), (6, 1), "x86_64")
    assert resolved is not None
    return compile_profile(resolved)


@pytest.fixture(scope="module")
def default() -> bytes:
    return compiled(*capability.DEFAULT)


@pytest.mark.parametrize(
    ("number", "arguments", "answer"),
    [
        pytest.param(0, (), ALLOW, id="read"),
        pytest.param(165, (), EPERM, id="mount"),
        pytest.param(250, (), EPERM, id="keyctl"),
        pytest.param(425, (), EPERM, id="io_uring_setup"),
        pytest.param(161, (), ALLOW, id="chroot, with the default's CAP_SYS_CHROOT"),
        pytest.param(56, (0x11,), ALLOW, id="clone of a process"),
        pytest.param(56, (0x10000000,), EPERM, id="clone with a user namespace"),
        pytest.param(435, (), ENOSYS, id="clone3"),
        pytest.param(41, (2, 1, 0), ALLOW, id="socket AF_INET"),
        pytest.param(41, (16, 3, 0), ALLOW, id="socket AF_NETLINK"),
        pytest.param(41, (40, 1, 0), EPERM, id="socket AF_VSOCK"),
        pytest.param(41, (38, 5, 0), EPERM, id="socket AF_ALG"),
        pytest.param(135, (0xFFFFFFFF,), ALLOW, id="personality asked"),
        pytest.param(135, (0x0040000,), EPERM, id="personality ADDR_NO_RANDOMIZE"),
        pytest.param(452, (), ALLOW, id="fchmodat2"),
        pytest.param(462, (), ALLOW, id="mseal, newer than libseccomp 2.5.4"),
        pytest.param(335, (), ALLOW, id="uretprobe"),
        pytest.param(459, (), EPERM, id="lsm_get_self_attr"),
        pytest.param(467, (), ENOSYS, id="newer than the profile"),
        pytest.param(9999, (), ENOSYS, id="nobody's call"),
    ],
)
def test_the_default_program_answers(default: bytes, number: int, arguments: tuple[int, ...], answer: int) -> None:
    assert run(default, X86_64, number, *arguments) == answer


def test_other_abis_of_the_machine_are_filtered_too(default: bytes) -> None:
    assert run(default, X86, 3) == ALLOW  # read
    assert run(default, X86, 21) == EPERM  # mount
    assert run(default, X86, 462) == ALLOW
    assert run(default, X86, 5000) == ENOSYS
    assert run(default, X86_64, 0x40000000) == ALLOW  # x32's read
    assert run(default, X86_64, 0x40000000 | 165) == EPERM
    assert run(default, X86_64, 0x40000000 | 462) == ALLOW
    assert run(default, X86_64, 0x40000000 | 5000) == ENOSYS
    assert run(default, AARCH64, 63) not in (ALLOW, EPERM, ENOSYS)  # killed: not this machine's


def test_administrators_may_make_namespaces() -> None:
    program = compiled("CAP_SYS_ADMIN")
    assert run(program, X86_64, 56, 0x10000000) == ALLOW
    assert run(program, X86_64, 435) == ALLOW
    assert run(program, X86_64, 165) == ALLOW


def rule(*names: str, action: str = "SCMP_ACT_ALLOW", **rest: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **rest}


def test_a_permissive_profile_lets_unknown_calls_through() -> None:
    program = compile_profile(
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule("mkdir", action="SCMP_ACT_ERRNO", errnoRet=13)]}
    )
    assert run(program, X86_64, 83) == 0x50000 | 13
    assert run(program, X86_64, 9999) == ALLOW


def test_the_end_of_what_a_profile_knows_is_its_highest_call() -> None:
    program = compile_profile({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule("read", "mkdir", "no_such_call")]})
    assert run(program, X86_64, 82) == EPERM
    assert run(program, X86_64, 83) == ALLOW
    assert run(program, X86_64, 84) == ENOSYS


def test_two_conditions_on_one_argument_are_alternatives_and_on_two_are_one() -> None:
    def condition(index: int, value: int) -> dict[str, Any]:
        return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}

    either = rule("socket", args=[condition(0, 1), condition(0, 2)])
    program = compile_profile({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [either]})
    assert [run(program, X86_64, 41, family) for family in (1, 2, 3)] == [ALLOW, ALLOW, EPERM]
    both = rule("socket", args=[condition(0, 1), condition(1, 2)])
    program = compile_profile({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [both]})
    assert [run(program, X86_64, 41, 1, kind) for kind in (1, 2)] == [EPERM, ALLOW]


@pytest.mark.parametrize(
    ("seccomp", "message"),
    [
        ({"defaultAction": "SCMP_ACT_NOPE"}, "invalid seccomp action: SCMP_ACT_NOPE"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "SCMP_ACT_NOTIFY needs a listener"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_VAX"]}, "invalid seccomp architecture"),
        (
            {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [rule("read", args=[{"index": 0, "value": 1, "op": "SCMP_CMP_LIKE"}])],
            },
            "invalid seccomp operator",
        ),
        (
            {
                "defaultAction": "SCMP_ACT_ERRNO",
                "syscalls": [rule("read", args=[{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}])],
            },
            "invalid seccomp argument index: 6",
        ),
    ],
)
def test_what_cannot_be_compiled_is_refused_by_name(seccomp: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        compile_profile(seccomp)


def test_a_prologue_falls_through_where_nothing_is_decided() -> None:
    calls = {X86_64: assembler.Calls(last=10, decided={5: ALLOW}), X86: assembler.Calls(last=20)}
    end = struct.pack("=HBBI", 0x06, 0, 0, 0x1234)
    program = assembler.prologue(calls, (X86_64, assembler.Calls(last=30))) + end
    assert run(program, X86_64, 4) == 0x1234
    assert run(program, X86_64, 5) == ALLOW
    assert run(program, X86_64, 10) == 0x1234
    assert run(program, X86_64, 11) == ENOSYS
    assert run(program, X86_64, 0x40000000 | 30) == 0x1234
    assert run(program, X86_64, 0x40000000 | 31) == ENOSYS
    assert run(program, X86, 20) == 0x1234
    assert run(program, X86, 21) == ENOSYS
    assert run(program, AARCH64, 9999) == 0x1234
