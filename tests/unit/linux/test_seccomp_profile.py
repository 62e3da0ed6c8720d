"""Docker's profile format: which rules hold for which container, and what is no profile."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.linux import capability
from orlop.linux.seccomp import profile

KERNEL = (6, 1)


def resolved(document: dict[str, Any], *capabilities: str, kernel: tuple[int, int] = KERNEL) -> set[str]:
    """Return the names that a document allows whatever their arguments."""
    seccomp = profile.resolve(document, frozenset(capabilities), kernel, "x86_64")
    assert seccomp is not None
    return {
        name
        for rule in seccomp["syscalls"]
        for name in rule["names"]
        if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule
    }


@pytest.mark.parametrize(
    ("needed", "call"),
    [
        ("CAP_SYS_ADMIN", "mount"),
        ("CAP_SYS_ADMIN", "unshare"),
        ("CAP_SYS_ADMIN", "clone"),
        ("CAP_SYS_CHROOT", "chroot"),
        ("CAP_BPF", "bpf"),
        ("CAP_PERFMON", "perf_event_open"),
        ("CAP_SYSLOG", "syslog"),
        ("CAP_SYS_PTRACE", "kcmp"),
        ("CAP_SYS_TIME", "settimeofday"),
        ("CAP_SYS_MODULE", "finit_module"),
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    ],
)
def test_the_default_opens_a_call_with_its_capability_alone(needed: str, call: str) -> None:
    assert call not in resolved(profile.DEFAULT)
    assert call in resolved(profile.DEFAULT, needed)


def test_the_default_never_opens_what_reaches_around_the_container() -> None:
    allowed = resolved(profile.DEFAULT, *capability.NAMES)
    closed = {"io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key", "userfaultfd", "kexec_load"}
    assert not allowed & closed
    assert "socket" not in allowed
    assert "ptrace" in resolved(profile.DEFAULT)
    assert "ptrace" not in resolved(profile.DEFAULT, kernel=(4, 7))


def test_the_default_knows_architectures() -> None:
    on_arm = profile.resolve(profile.DEFAULT, frozenset(), KERNEL, "aarch64")
    assert on_arm is not None
    assert on_arm["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    names = {name for rule in on_arm["syscalls"] for name in rule["names"]}
    assert "arm_fadvise64_64" in names
    assert "arch_prctl" not in names
    on_pc = profile.resolve(profile.DEFAULT, frozenset(), KERNEL, "x86_64")
    assert on_pc is not None
    assert on_pc["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]


def test_rules_are_kept_or_left_out_by_every_condition() -> None:
    def rule(**conditions: Any) -> dict[str, Any]:
        return {"name": "read", "action": "SCMP_ACT_ALLOW", **conditions}

    def holds(**conditions: Any) -> bool:
        document = profile.parse(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule(**conditions)]}))
        return "read" in resolved(document, "CAP_KILL", "CAP_CHOWN")

    assert holds()
    assert holds(includes={"caps": ["CAP_KILL", "CAP_CHOWN"], "arches": ["amd64"], "minKernel": "6.1"})
    assert not holds(includes={"caps": ["CAP_KILL", "CAP_BPF"]})
    assert not holds(includes={"arches": ["arm64"]})
    assert not holds(includes={"minKernel": "6.2"})
    assert holds(excludes={"caps": ["CAP_BPF"], "arches": ["arm64"], "minKernel": "6.2"})
    assert not holds(excludes={"caps": ["CAP_BPF", "CAP_KILL"]})
    assert not holds(excludes={"arches": ["amd64"]})
    assert not holds(excludes={"minKernel": "4.8"})


def test_a_profile_that_says_nothing_is_no_filter() -> None:
    assert profile.resolve(profile.parse("{}"), frozenset(), KERNEL, "x86_64") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Decoding seccomp profile failed: "),
        ("[]", "Decoding seccomp profile failed: a profile is an object"),
        ("[" * 100_000, "Decoding seccomp profile failed: "),
        (
            '{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"x"}]}',
            "both 'architectures' and 'archMap' are specified in the seccomp profile, "
            "use either 'architectures' or 'archMap'",
        ),
        (
            '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_ERRNO"}]}',
            "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'",
        ),
        ('{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"]}]}', "action is a string"),
        ('{"syscalls":[{"names":["a"],"action":"SCMP_ACT_ALLOW"}]}', "there is no defaultAction"),
        (
            '{"defaultAction":"x","syscalls":[{"names":["a"],"action":"x","includes":{"minKernel":"4"}}]}',
            "invalid kernel version '4'",
        ),
    ],
)
def test_what_is_no_profile_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        profile.parse(text)
    assert message in raised.value.message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["defaultAction", "syscalls", "names", "action", "args", "includes", "caps", "archMap"]),
            children,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_a_profile_or_refused(value: Any) -> None:
    try:
        document = profile.parse(json.dumps(value))
    except InvalidArgument:
        return
    profile.resolve(document, frozenset(), KERNEL, "x86_64")
