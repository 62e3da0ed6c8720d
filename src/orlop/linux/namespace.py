"""Namespaces: making, joining and naming them."""

from __future__ import annotations

import ctypes
import os

from orlop.linux.syscall import function

__all__ = ["FLAGS", "PROC_NAMES", "open_namespace", "set_domainname", "set_hostname", "setns", "unshare"]

CLONE_NEWTIME = 0x00000080
CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# By the names that the OCI runtime specification uses.
FLAGS = {
    "pid": CLONE_NEWPID,
    "network": CLONE_NEWNET,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "mount": CLONE_NEWNS,
    "cgroup": CLONE_NEWCGROUP,
    "user": CLONE_NEWUSER,
    "time": CLONE_NEWTIME,
}
# The names in /proc/<pid>/ns.
PROC_NAMES = {
    "pid": "pid",
    "network": "net",
    "ipc": "ipc",
    "uts": "uts",
    "mount": "mnt",
    "cgroup": "cgroup",
    "user": "user",
    "time": "time",
}

_unshare = function("unshare", ctypes.c_int)
_setns = function("setns", ctypes.c_int, ctypes.c_int)
_sethostname = function("sethostname", ctypes.c_char_p, ctypes.c_size_t)
_setdomainname = function("setdomainname", ctypes.c_char_p, ctypes.c_size_t)


def unshare(flags: int) -> None:
    """unshare(2); a new pid namespace begins with the next child. Raises `OSError`."""
    _unshare(flags)


def setns(fd: int, flags: int) -> None:
    """Join the namespace `fd`, or those of the process that the pidfd `fd` names which `flags` asks for (setns(2))."""
    _setns(fd, flags)


def open_namespace(kind: str, pid: int | str = "self") -> int:
    """Open the namespace of type `kind` (as in `FLAGS`) of a process. Raises `OSError`."""
    return os.open(f"/proc/{pid}/ns/{PROC_NAMES[kind]}", os.O_RDONLY | os.O_CLOEXEC)


def set_hostname(name: str) -> None:
    """Set the host name of this UTS namespace. Raises `OSError` (EINVAL beyond 64 bytes)."""
    value = name.encode()
    _sethostname(value, len(value))


def set_domainname(name: str) -> None:
    """Set the NIS domain name of this UTS namespace. Raises `OSError` (EINVAL beyond 64 bytes)."""
    value = name.encode()
    _setdomainname(value, len(value))
