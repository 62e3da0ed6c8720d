"""Attributes of the calling process that only prctl(2) knows, and its last step, execve(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import termios
from collections.abc import Callable

from orlop.linux.seccomp.verdict import lets_pass
from orlop.linux.syscall import AT_FDCWD, NUMBERS, call, function

__all__ = [
    "block_to_descriptor",
    "can_execute",
    "can_fork_under",
    "current_directory",
    "default_signals",
    "fork_sibling",
    "is_child",
    "join_session_keyring",
    "keep_capabilities",
    "no_new_privileges",
    "set_death_signal",
    "set_dumpable",
    "set_name",
    "set_signal",
    "set_subreaper",
]

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_AT_EACCESS = 0x200
_PATH_MAX = 4096
_SIG_SETMASK = 2
_CLONE_PARENT = 0x8000
_SIGSET_SIZE = 128
_KEYCTL_JOIN_SESSION_KEYRING = 1

_prctl = function("prctl", ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_plain_signal: Callable[[int, int], object] = getattr(signal.signal, "__wrapped__", signal.signal)
# The interpreter's lock is kept: the child must find it as it was.
_clone = ctypes.PyDLL(None, use_errno=True)["syscall"]
_clone.argtypes = (ctypes.c_long,) * 6
_clone.restype = ctypes.c_long
_signal = ctypes.CDLL(None)["signal"]
_signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
_signal.restype = ctypes.c_void_p
_sigprocmask = function("sigprocmask", ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)
_prctl_name = function("prctl", ctypes.c_int, ctypes.c_char_p)


def set_death_signal(number: int) -> None:
    """Have the kernel send signal `number` when the parent ends; a change of credentials clears it again."""
    _prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def set_dumpable(dumpable: bool) -> None:
    """Say whether others with the same user may look into this process (/proc/<pid>/fd, ptrace); exec resets it."""
    _prctl(_PR_SET_DUMPABLE, int(dumpable), 0, 0, 0)


def keep_capabilities(keep: bool) -> None:
    """Say whether the permitted capabilities survive the change from user 0 to another one."""
    _prctl(_PR_SET_KEEPCAPS, int(keep), 0, 0, 0)


def set_name(name: str) -> None:
    """Set the name that ``ps`` shows (15 bytes)."""
    _prctl_name(_PR_SET_NAME, name.encode()[:15])


def set_subreaper(on: bool = True) -> None:
    """Become the parent of descendants whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


def no_new_privileges() -> None:
    """Give up gaining privileges by exec, for ever."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def default_signals() -> None:
    """Give every signal its default action and block none: what a program may expect at its start.

    Straight to libc, since only an exec follows: the standard library's own way takes half a millisecond.
    """
    for number in range(1, signal.NSIG):
        _signal(number, None)  # SIG_DFL; refused for SIGKILL, SIGSTOP and the two that belong to libc
    _sigprocmask(_SIG_SETMASK, bytes(_SIGSET_SIZE), None)


def can_execute(path: str) -> None:
    """Check with the effective user and capabilities that `path` may be executed. Raises `OSError`."""
    call("faccessat2", AT_FDCWD, os.fsencode(path), os.X_OK, _AT_EACCESS)


def current_directory() -> str:
    """Return what the kernel calls the working directory; outside the root that starts with ``(unreachable)``."""
    buffer = ctypes.create_string_buffer(_PATH_MAX)
    call("getcwd", buffer, _PATH_MAX)
    return os.fsdecode(buffer.value)


def set_signal(number: int, action: int) -> None:
    """Give one signal its default action (SIG_DFL) or none (SIG_IGN), by signal(2) alone.

    `signal.signal` makes enumerations of its arguments and results, which is most of its time and memory.
    """
    _plain_signal(number, int(action))


def block_to_descriptor(number: int) -> int:
    """Block a signal, for the children too, and return a descriptor that is readable when it came (signalfd(2))."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (number,))
    mask = (1 << number - 1).to_bytes(8, sys.byteorder)
    return call("signalfd4", -1, mask, len(mask), os.O_CLOEXEC | os.O_NONBLOCK)


def fork_sibling() -> int:
    """Fork a child of our *parent*: 0 in it, its number here (clone(2) with CLONE_PARENT). Raises `OSError`.

    Only for a process with one thread: nobody is told of the fork, neither libc nor the interpreter.
    """
    pid: int = _clone(NUMBERS["clone"], _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "clone")
    return pid


def can_fork_under(seccomp: bytes) -> bool:
    """Say whether that program lets a process make a sibling which leads a session, has a terminal and a death signal.

    These calls are made by `fork_sibling`, `os.setsid`, `pty.make_controlling` and `set_death_signal`.
    """
    return (
        lets_pass(seccomp, NUMBERS["clone"], _CLONE_PARENT | signal.SIGCHLD)
        and lets_pass(seccomp, NUMBERS["setsid"])
        and lets_pass(seccomp, NUMBERS["prctl"], _PR_SET_PDEATHSIG, signal.SIGKILL)
        and lets_pass(seccomp, NUMBERS["ioctl"], 0, termios.TIOCSCTTY)
    )


def is_child(pid: int) -> bool:
    """Say whether `pid` is a child of ours that was not reaped yet."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:  # ECHILD; EINVAL for what is no number of a process
        return False
    return True


def join_session_keyring(name: str) -> None:
    """Get a new session keyring, so that the keys of whoever started us are not ours (keyctl(2)).

    Where there are no keyrings (ENOSYS, or a profile that forbids them) there is nothing to leave.
    """
    try:
        call("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, name.encode())
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EDQUOT):
            raise
