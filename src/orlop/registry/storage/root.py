"""The root directory of the local storage: its lock, its leases, its threads, and the content in it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from orlop.errors import Unavailable
from orlop.formats.digest import Digest
from orlop.image.content import Content
from orlop.image.scratch import Scratch
from orlop.registry.storage.tree import Tree

__all__ = ["Root"]

_Result = TypeVar("_Result")
_THREADS = 16  # they hash, copy and wait for the disk
_DIRECTORIES = ("content", "content/sha256", "content/sha512", "deletions", "repositories", "tmp", "uploads")


class Root:
    """The directory `path`, which this process alone uses from `Root(path)` to `close`. Raises `Unavailable`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_fd = _take(path)
        self.lock = threading.Lock()
        """Held where a lease is looked at or renewed: never while anything waits for the disk."""
        self.tree = Tree(path, "tmp")
        self.scratch = Scratch(path / "tmp")
        self.scratch.sweep()
        self.content = Content(path / "content", self.scratch)
        self._threads = ThreadPoolExecutor(_THREADS, "registry-storage")
        self._writing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self.scratch.close)
        self.tree.close()
        os.close(self._lock_fd)

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Do what waits for the disk or takes its time in a thread; it is finished also if the caller is cancelled."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    def writing(self, repository: str) -> asyncio.Lock:
        """Return what orders the changes of one repository's manifests and tags."""
        return self._writing.setdefault(repository, asyncio.Lock())

    def content_path(self, digest: Digest) -> str:
        """Return the path of a blob's content for `tree`."""
        return f"content/{digest.algorithm}/{digest.hex}"

    def renew(self, digest: Digest) -> bool:
        """Renew the lease of a blob's content; False if it is not there. Call it under `lock`."""
        return self.tree.touch(self.content_path(digest))

    def adopt(self, file: Path, digest: Digest) -> None:
        """Make a file that is whole, verified and on the disk the content of `digest`."""
        with self.lock:
            if self.renew(digest):
                file.unlink()
                return
            os.utime(file)
            file.rename(self.content.path(digest))
        self.content.sync_names()

    def put(self, data: bytes, digest: Digest) -> None:
        """Store the content of a manifest."""
        with self.lock:
            known = self.renew(digest)
        if not known:
            self.content.put(data, digest.algorithm)


def _take(root: Path) -> int:
    """Make the root's directories and lock it; return the descriptor that holds the lock (flock(2))."""
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _DIRECTORIES:
            directory = root / name
            if directory.is_symlink():
                raise Unavailable(f"cannot use the registry's root {root}: {name} is a symbolic link")
            directory.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(root / "orlop-registry.lock", flags, 0o600)
    except OSError as error:
        raise Unavailable(f"cannot use the registry's root {root}: {error.strerror}: {error.filename}") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise Unavailable(f"another process ({holder}) uses the registry's root {root}") from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd
