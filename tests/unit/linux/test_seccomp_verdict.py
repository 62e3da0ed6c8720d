"""What a program would say; `test_seccomp_compile` runs real ones by it."""

from __future__ import annotations

import platform
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.linux import process
from orlop.linux.seccomp import profile
from orlop.linux.seccomp.compile import compile_profile
from orlop.linux.seccomp.verdict import ALLOW, LOG, lets_pass, verdict

X86_64 = 0xC000003E


def program(*instructions: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)


@pytest.mark.parametrize("value", [ALLOW, LOG, 0x00050001, 0])
def test_a_program_of_one_answer_gives_it(value: int) -> None:
    assert verdict(program((0x06, 0, 0, value)), X86_64, 1) == value
    assert lets_pass(program((0x06, 0, 0, value)), 1) is (value in (ALLOW, LOG))


@given(st.binary(max_size=64), st.integers(0, 500))
def test_what_is_no_program_lets_nothing_pass_or_ends(data: bytes, number: int) -> None:
    try:
        verdict(data, X86_64, number)
    except ValueError:
        assert not lets_pass(data, number)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="needs the numbers of x86-64")
@pytest.mark.parametrize("forbidden", ["clone", "setsid", "prctl", "ioctl", "getpid"])
def test_a_profile_that_forbids_a_call_of_the_fork_is_seen(forbidden: str) -> None:
    pytest.importorskip("pyseccomp", reason="needs libseccomp", exc_type=(ImportError, RuntimeError))
    rule = {"names": [forbidden], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
    compiled = compile_profile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    assert process.can_fork_under(compiled) is (forbidden == "getpid")


def test_the_default_profile_lets_a_process_fork() -> None:
    pytest.importorskip("pyseccomp", reason="needs libseccomp", exc_type=(ImportError, RuntimeError))
    resolved = profile.resolve(profile.DEFAULT, frozenset(), (6, 1), platform.machine())
    assert resolved is not None
    assert process.can_fork_under(compile_profile(resolved))
