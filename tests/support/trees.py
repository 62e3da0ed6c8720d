"""Random trees and random changes to them, and what a tree looks like: for tests that compare two."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

__all__ = ["CAPABILITY", "Operation", "operations", "perform", "shape"]

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw+ep

_NAMES = ("a", "b", "c", "ü", "x" * 120)
_KINDS = (
    *("file", "file", "file", "directory", "directory", "symlink", "fifo", "device", "link", "link"),
    *("remove", "remove", "replace", "rename", "chmod", "chown", "touch", "same", "write", "capability", "socket"),
)


@dataclass(frozen=True)
class Operation:
    """One change: what is done, where, and numbers that it takes what it needs from."""

    kind: str
    path: str
    other: str
    number: int


def operations(size: int) -> st.SearchStrategy[list[Operation]]:
    """Return a strategy of up to `size` operations on a few names, three levels deep."""
    paths = st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3).map("/".join)
    return st.lists(
        st.builds(Operation, st.sampled_from(_KINDS), paths, paths, st.integers(0, 9999)), min_size=1, max_size=size
    )


def perform(root: str, todo: list[Operation]) -> None:
    """Do what can be done of it beneath `root`; what the kernel refuses (no such file, not a directory) is skipped."""
    for operation in todo:
        try:
            _ACTIONS[operation.kind](f"{root}/{operation.path}", f"{root}/{operation.other}", operation.number)
        except OSError:
            continue


def shape(root: str) -> dict[str, Any]:
    """Return what is beneath `root`, as archives keep it: sockets left out, times in whole seconds, links as groups."""
    found: dict[str, Any] = {}
    groups: dict[tuple[int, int], str] = {}
    pending = [""]
    while pending:
        directory = pending.pop()
        for name in sorted(os.listdir(f"{root}{directory}/")):
            path = f"{directory}/{name}"
            status = os.stat(root + path, follow_symlinks=False)
            if stat.S_ISSOCK(status.st_mode):
                continue
            if stat.S_ISDIR(status.st_mode):
                pending.append(path)
            found[path] = _facts(root + path, status)
    for path in sorted(found):
        status = os.stat(root + path, follow_symlinks=False)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            found[path]["link"] = groups.setdefault((status.st_dev, status.st_ino), path)
    return found


def _facts(path: str, status: os.stat_result) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "mode": status.st_mode,
        "owner": (status.st_uid, status.st_gid),
        "time": status.st_mtime_ns // 10**9,
    }
    if stat.S_ISLNK(status.st_mode):
        facts["target"] = os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            facts["content"] = file.read()
        if "security.capability" in os.listxattr(path):
            facts["capability"] = os.getxattr(path, "security.capability")
    elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        facts["device"] = status.st_rdev
    return facts


def _file(path: str, other: str, number: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    with os.fdopen(fd, "wb") as file:
        if number % 3 == 0:
            file.seek(number * 1000)  # a hole
        file.write(b"%d" % number)


def _directory(path: str, other: str, number: int) -> None:
    os.mkdir(path, 0o700 + number % 64)


def _device(path: str, other: str, number: int) -> None:
    os.mknod(path, (stat.S_IFCHR if number % 2 else stat.S_IFBLK) | 0o600, os.makedev(1, 1 + number % 200))


def _remove(path: str, other: str, number: int) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _replace(path: str, other: str, number: int) -> None:
    """Remove what is there and put a directory in its place, or a file in a directory's."""
    was_directory = os.path.isdir(path) and not os.path.islink(path)
    _remove(path, other, number)
    if was_directory and number % 2:
        _file(path, other, number)
    else:
        _directory(path, other, number)


def _chown(path: str, other: str, number: int) -> None:
    os.chown(path, number % 3, number % 2, follow_symlinks=False)


def _chmod(path: str, other: str, number: int) -> None:
    if not os.path.islink(path):
        os.chmod(path, number % 0o7777)


def _touch(path: str, other: str, number: int) -> None:
    os.utime(path, ns=(0, (1_700_000_000 + number) * 10**9 + number), follow_symlinks=False)


def _same(path: str, other: str, number: int) -> None:
    """Copy a file up without changing anything of it."""
    status = os.stat(path, follow_symlinks=False)
    os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)


def _write(path: str, other: str, number: int) -> None:
    """Change what a file holds and put its time back."""
    status = os.stat(path, follow_symlinks=False)
    fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(fd, "wb") as file:
        file.write(b"%d" % (number % 10))
    os.utime(path, ns=(0, status.st_mtime_ns))


def _capability(path: str, other: str, number: int) -> None:
    if os.path.isfile(path):
        os.setxattr(path, "security.capability", CAPABILITY, follow_symlinks=False)


_ACTIONS = {
    "file": _file,
    "directory": _directory,
    "symlink": lambda path, other, number: os.symlink(os.path.basename(other), path),
    "fifo": lambda path, other, number: os.mkfifo(path, 0o640),
    "device": _device,
    "socket": lambda path, other, number: os.mknod(path, stat.S_IFSOCK | 0o600),
    "link": lambda path, other, number: os.link(path, other, follow_symlinks=False),
    "remove": _remove,
    "replace": _replace,
    "rename": lambda path, other, number: os.rename(path, other),
    "chmod": _chmod,
    "chown": _chown,
    "touch": _touch,
    "same": _same,
    "write": _write,
    "capability": _capability,
}
