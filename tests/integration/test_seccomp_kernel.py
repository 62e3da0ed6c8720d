"""The default profile, loaded into real processes: what the kernel then refuses and what it lets through."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import socket
import sys
from collections.abc import Callable

import pytest

from orlop.linux import capability
from orlop.linux.seccomp import load, profile
from orlop.linux.seccomp.compile import compile_profile

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of system calls are those of x86-64"),
]

CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x20000
MOUNT, CHROOT, KEYCTL, UNSHARE, IO_URING_SETUP, CLONE3, FCHMODAT2 = 165, 161, 250, 272, 425, 435, 452

libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: int) -> int:
    """Make a system call; return its error number, or 0."""
    ctypes.set_errno(0)
    padded = [ctypes.c_long(argument) for argument in (*arguments, *(0,) * (6 - len(arguments)))]
    result = libc.syscall(ctypes.c_long(number), *padded)
    return ctypes.get_errno() if result < 0 else 0


def vsock() -> int:
    return call(41, 40, socket.SOCK_STREAM, 0)


def in_child(act: Callable[[], int]) -> int:
    """Run `act` in a forked process and return its answer."""
    pid = os.fork()
    if pid == 0:
        answer = 255
        try:
            answer = act()
        finally:
            os._exit(answer)
    _, status = os.waitpid(pid, 0)
    assert not os.WIFSIGNALED(status), signal.Signals(os.WTERMSIG(status))
    return os.waitstatus_to_exitcode(status)


@pytest.fixture(scope="module")
def program() -> bytes:
    resolved = profile.resolve(profile.DEFAULT, capability.DEFAULT, (6, 1), "x86_64")
    assert resolved is not None
    return compile_profile(resolved)


@pytest.mark.parametrize(
    ("act", "error"),
    [
        pytest.param(lambda: call(KEYCTL), errno.EPERM, id="keyctl"),
        pytest.param(lambda: call(MOUNT), errno.EPERM, id="mount"),
        pytest.param(lambda: call(IO_URING_SETUP, 1), errno.EPERM, id="io_uring_setup"),
        pytest.param(lambda: call(UNSHARE, CLONE_NEWUSER), errno.EPERM, id="unshare of a user namespace"),
        pytest.param(lambda: call(56, CLONE_NEWNS | signal.SIGCHLD), errno.EPERM, id="clone of a mount namespace"),
        pytest.param(vsock, errno.EPERM, id="socket AF_VSOCK"),
        pytest.param(lambda: call(41, 38, socket.SOCK_SEQPACKET, 0), errno.EPERM, id="socket AF_ALG"),
        pytest.param(lambda: call(CLONE3), errno.ENOSYS, id="clone3"),
        pytest.param(lambda: call(9999), errno.ENOSYS, id="a call nobody has"),
        pytest.param(lambda: call(CHROOT, 0), errno.EFAULT, id="chroot reaches the kernel"),
        pytest.param(lambda: call(39), 0, id="getpid"),
        pytest.param(lambda: call(41, socket.AF_INET, socket.SOCK_STREAM, 0), 0, id="socket AF_INET"),
    ],
)
def test_the_default_profile_answers_a_process(program: bytes, act: Callable[[], int], error: int) -> None:
    def filtered() -> int:
        load.load(program)
        return act()

    assert in_child(filtered) == error


def test_a_filtered_process_still_forks_and_executes(program: bytes) -> None:
    def run() -> int:
        load.load(program)
        pid = os.fork()
        if pid == 0:
            os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "import threading; print(end='')"])
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert in_child(run) == 0


def test_without_privilege_the_filter_needs_no_new_privileges(program: bytes) -> None:
    def without() -> int:
        os.setuid(65534)
        try:
            load.load(program)
        except OSError as failure:
            return failure.errno or 255
        return 0

    def locked() -> int:
        os.setuid(65534)
        load.set_no_new_privileges()
        load.load(program)
        return call(KEYCTL)

    assert in_child(without) == errno.EACCES
    assert in_child(locked) == errno.EPERM


@pytest.mark.parametrize("broken", [b"", b"\0" * 7, b"\0" * 8 * 4097])
def test_what_is_no_program_is_refused_before_the_kernel_sees_it(broken: bytes) -> None:
    with pytest.raises(ValueError, match="seccomp program"):
        load.load(broken)
