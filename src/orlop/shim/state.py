"""What a shim leaves in its run directory for a daemon that was not there: ``state.json`` and ``exit.json``.

A file is whole or not there: it is written beside and renamed. How a container ended is on the disk (fsync) before
anyone is told. Both carry the boot's id, since a run directory may outlive the boot.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from typing import Any

from orlop.linux import proc

__all__ = ["RunDirectory"]

_STATE = "state.json"
_EXIT = "exit.json"
_ERROR = "shim-error.txt"
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
SOCKET = "shim.sock"


class RunDirectory:
    """A container's run directory, which one shim at a time holds the lock of."""

    def __init__(self, place: str | int) -> None:
        """Open it by its path (it is made if it is missing), or take a descriptor of it. Raises `OSError`."""
        if isinstance(place, str):
            os.makedirs(place, 0o700, exist_ok=True)
            place = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.fd = place
        self._boot_id = proc.boot_id()

    def lock(self) -> bool:
        """Take the lock; False if another shim has it. It is let go when we and our children have closed it."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        """Let the next shim of this container begin."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)

    @property
    def socket_path(self) -> str:
        """The path of the shim's socket; short, however deep the directory lies (a socket's path has 107 bytes)."""
        return f"/proc/self/fd/{self.fd}/{SOCKET}"

    def write_state(self, fields: dict[str, Any]) -> None:
        """Write down what runs. Raises `OSError`."""
        self._write(_STATE, fields, durable=False)

    def write_exit(self, fields: dict[str, Any]) -> None:
        """Write down how it ended; when this returns it is on the disk. Raises `OSError`."""
        self._write(_EXIT, fields, durable=True)

    def write_error(self, error: BaseException) -> None:
        """Keep a mistake of the shim for whoever looks for it."""
        import traceback

        text = "".join(traceback.format_exception(error))
        with open(os.open(_ERROR, _WRITE, 0o600, dir_fd=self.fd), "w", encoding="utf-8") as file:
            file.write(text)

    def forget(self, *names: str) -> None:
        """Remove files of earlier runs, or of ours; all of them without names."""
        for name in names or (_STATE, _EXIT, SOCKET):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.fd)

    def _write(self, name: str, fields: dict[str, Any], *, durable: bool) -> None:
        temporary = name + ".new"
        fd = os.open(temporary, _WRITE, 0o600, dir_fd=self.fd)
        try:
            os.write(fd, json.dumps({**fields, "boot_id": self._boot_id}).encode())
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=self.fd, dst_dir_fd=self.fd)
        if durable:
            os.fsync(self.fd)
