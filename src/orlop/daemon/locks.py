"""What keeps two daemons apart: a lock on each root, and a file with the process id.

Locks are flock(2) on open files, so they end with their process however it ends; the files stay.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from orlop.errors import Unavailable

__all__ = ["lock_root", "pid_file"]


@contextlib.contextmanager
def lock_root(root: Path, what: str) -> Iterator[None]:
    """Hold the root directory `root` (`what` it is, for the error) for this process alone; make it if need be.

    Raises `Unavailable` with the process id of the daemon that holds it.
    """
    path = root / "orlop.lock"
    try:
        root.mkdir(mode=0o710, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"cannot use the {what} {root}: {error.strerror}: {error.filename}") from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            raise Unavailable(f"another orlopd (process {holder}) uses the {what} {root}") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def pid_file(path: Path) -> Iterator[None]:
    """Keep this process's id in `path`. Raises `Unavailable` when the process that it names runs."""
    holder = _read(path)
    if holder and holder != os.getpid() and Path(f"/proc/{holder}").exists():
        raise Unavailable(
            f"failed to start daemon, ensure orlopd is not running or delete {path}: "
            f"process with PID {holder} is still running"
        )
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_text(str(os.getpid()))
    except OSError as error:
        raise Unavailable(f"failed to start daemon: cannot write {path}: {error.strerror}") from None
    try:
        yield
    finally:
        if _read(path) == os.getpid():
            path.unlink(missing_ok=True)


def _read(path: Path) -> int:
    try:
        return int(path.read_text().strip() or 0)
    except (FileNotFoundError, ValueError):
        return 0
