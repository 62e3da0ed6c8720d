"""A crew: threads that make the small files of a layer, while the archive is read on.

Making a file is most of what unpacking costs, and the kernel does it for one directory at a time: so files are handed
over by the directory, and several directories get theirs at once. Their order does not matter to anyone as long as
nothing else is done with the same names; who does something else calls `drain` first.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from orlop.image.attributes import set_xattr

__all__ = ["CREATE", "SMALL", "Crew", "NewFile", "dress"]

CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
SMALL = 256 << 10  # bytes of a file that waits in memory
_BATCH_FILES = 32
_BATCH_BYTES = 512 << 10
_WAITING = 8  # batches
_THREADS = max(2, min(4, os.cpu_count() or 1))


@dataclass(slots=True)
class NewFile:
    """A regular file to be made. `mtime` is in ns."""

    name: str
    mode: int
    owner: tuple[int, int]
    mtime: int
    xattrs: Mapping[str, bytes]
    data: bytes


@dataclass(slots=True)
class _Batch:
    """Files of one directory, which `fd` keeps open."""

    path: str
    fd: int
    files: list[NewFile]
    size: int = 0


class Crew:
    """The threads, which begin with the first file, and what they have to do. Used by one thread, which closes it."""

    def __init__(self) -> None:
        self._batch: _Batch | None = None
        self._queue: queue.Queue[_Batch | None] = queue.Queue(_WAITING)
        self._threads: list[threading.Thread] = []
        self._error: OSError | None = None

    def add(self, path: str, directory: int, file: NewFile) -> None:
        """Have a file made in an open directory, `path` in the archive. Raises the `OSError` of an earlier one."""
        batch = self._batch
        if batch is None or batch.path != path or len(batch.files) >= _BATCH_FILES or batch.size >= _BATCH_BYTES:
            self._flush()
            batch = self._batch = _Batch(path, os.dup(directory), [])
        batch.files.append(file)
        batch.size += len(file.data)

    def drain(self) -> None:
        """Wait until all files are made. Raises the `OSError` of one that could not be."""
        self._flush()
        self._queue.join()
        self._check()

    def close(self) -> None:
        """End the threads; what was not made yet may not be."""
        if self._batch is not None:
            os.close(self._batch.fd)
            self._batch = None
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _flush(self) -> None:
        self._check()
        if self._batch is None:
            return
        if len(self._threads) < _THREADS:
            thread = threading.Thread(target=self._work, name="layer-files", daemon=True)
            thread.start()
            self._threads.append(thread)
        batch, self._batch = self._batch, None
        self._queue.put(batch)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (batch := self._queue.get()) is not None:
            try:
                if self._error is None:
                    for file in batch.files:
                        _make(batch.fd, file)
            except OSError as error:
                error.filename = f"{batch.path}/{file.name}"
                self._error = self._error or error
            finally:
                os.close(batch.fd)
                self._queue.task_done()
        self._queue.task_done()


def _make(directory: int, file: NewFile) -> None:
    fd = os.open(file.name, CREATE, 0o600, dir_fd=directory)
    try:
        data = memoryview(file.data)
        while data:
            data = data[os.write(fd, data) :]
        dress(fd, file.mode, file.owner, file.mtime, file.xattrs)
    finally:
        os.close(fd)


def dress(fd: int, mode: int, owner: tuple[int, int], mtime: int, xattrs: Mapping[str, bytes]) -> None:
    """Give a new file, which its maker owns, its attributes. Raises `OSError`."""
    if owner != (0, 0):
        os.fchown(fd, *owner)
    os.fchmod(fd, mode)
    for key, value in xattrs.items():
        set_xattr(fd, key, value)
    os.utime(fd, ns=(mtime, mtime))
