"""The small files of a registry: written whole and durably, read without following any symbolic link.

Paths are relative to the root. To be there is one rename (or the making of an empty file), to be gone one unlink; both
are on the disk when the method returns.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Callable
from pathlib import Path

from orlop.linux import openat2

__all__ = ["Tree"]

_RESOLVE = openat2.BENEATH | openat2.NO_SYMLINKS | openat2.NO_MAGICLINKS
_MAX_FILE = 8 << 20
_TRIES = 8


class Tree:
    """The files beneath the directory `root`. Every method may be called from any thread; all may raise `OSError`."""

    def __init__(self, root: Path, scratch: str) -> None:
        self._fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._scratch = scratch
        self._numbers = itertools.count()
        self._prefix = f"{os.getpid()}-{os.urandom(4).hex()}"

    def close(self) -> None:
        os.close(self._fd)

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Open a regular file. Raises `FileNotFoundError`, and other `OSError` for what is no regular file."""
        fd = openat2.openat2(self._fd, path, flags | os.O_NONBLOCK, resolve=_RESOLVE)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        raise OSError(f"not a regular file: {path}")

    def read(self, path: str) -> bytes:
        """Return what a small file holds. Raises `FileNotFoundError`."""
        fd = self.open(path)
        try:
            size = os.fstat(fd).st_size
            if size > _MAX_FILE:
                raise OSError(f"the file has {size} bytes: {path}")
            return os.read(fd, size)
        finally:
            os.close(fd)

    def status(self, path: str) -> os.stat_result | None:
        """Return the status of a regular file, None if there is none."""
        try:
            fd = openat2.openat2(self._fd, path, os.O_PATH, resolve=_RESOLVE)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            status = os.fstat(fd)
        finally:
            os.close(fd)
        return status if stat.S_ISREG(status.st_mode) else None

    def touch(self, path: str) -> bool:
        """Set the file's time of modification to now; False if there is no such file."""
        try:
            fd = self.open(path)
        except FileNotFoundError:
            return False
        try:
            os.utime(fd)
        finally:
            os.close(fd)
        return True

    def write(self, directory: str, name: str, data: bytes) -> None:
        """Let the file `name` in `directory` hold `data`; what it held before is replaced at once."""
        temporary = f"{self._scratch}/link-{self._prefix}-{next(self._numbers)}"
        new = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=self._fd)
        with contextlib.ExitStack() as undo:
            undo.callback(os.unlink, temporary, dir_fd=self._fd)
            with os.fdopen(new, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(new)
            self._within(directory, lambda fd: os.rename(temporary, name, src_dir_fd=self._fd, dst_dir_fd=fd))
            undo.pop_all()

    def mark(self, directory: str, name: str) -> None:
        """Make the empty file `name` in `directory` if it is not there."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._within(directory, lambda fd: os.close(os.open(name, flags, 0o600, dir_fd=fd)))

    def remove(self, directory: str, name: str, *, durable: bool = True) -> bool:
        """Remove a file; False if there was none."""
        try:
            fd = self._directory(directory)
        except (FileNotFoundError, NotADirectoryError):
            return False
        try:
            os.unlink(name, dir_fd=fd)
            if durable:
                os.fsync(fd)
        except FileNotFoundError:
            return False
        finally:
            os.close(fd)
        return True

    def names(self, directory: str) -> list[str]:
        """Return the names in a directory, none if it does not exist."""
        try:
            fd = self._directory(directory)
        except (FileNotFoundError, NotADirectoryError):
            return []
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def prune(self, directory: str) -> None:
        """Remove a directory and those beneath it as far as they are empty. They may be used meanwhile."""
        try:
            fd = self._directory(directory)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            with os.scandir(fd) as entries:
                inner = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        finally:
            os.close(fd)
        for name in inner:
            self.prune(f"{directory}/{name}")
        with contextlib.suppress(OSError):  # not empty, or somebody was quicker
            os.rmdir(directory, dir_fd=self._fd)

    def _directory(self, path: str) -> int:
        return openat2.openat2(self._fd, path, os.O_RDONLY | os.O_DIRECTORY, resolve=_RESOLVE)

    def _within(self, path: str, change: Callable[[int], None]) -> None:
        """Make a change in a directory durably; what is missing of the directory is made."""
        for tries in range(_TRIES, 0, -1):
            try:
                fd = self._make(path)
                try:
                    change(fd)
                    return os.fsync(fd)
                finally:
                    os.close(fd)
            except FileNotFoundError:  # a directory was pruned between its making and its use
                if tries == 1:
                    raise

    def _make(self, path: str) -> int:
        """Open a directory; make what is missing of it."""
        try:
            return self._directory(path)
        except FileNotFoundError:
            parent, _, name = path.rpartition("/")
        parent_fd = self._make(parent) if parent else os.dup(self._fd)
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=parent_fd)
            os.fsync(parent_fd)
        finally:
            os.close(parent_fd)
        return self._directory(path)
