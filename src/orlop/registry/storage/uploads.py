"""Uploads of the local storage: a file each, which grows, and is renamed into the content store when it is whole.

``uploads/<id>/<repository>`` says by its path alone whose upload it is, so it can be found again after a restart. The
running hash does not outlive the process: what was there before is hashed once more at the end.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from orlop.formats.digest import Digest
from orlop.registry.storage.links import Links, file_name
from orlop.registry.storage.root import Root
from orlop.registry.storage.storage import DigestMismatch, UploadUnknown

__all__ = ["LocalUpload", "Uploads"]

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


class LocalUpload:
    """A `orlop.registry.storage.storage.Upload` in the file `path`, which exists."""

    def __init__(self, uploads: Uploads, root: Root, id: str, repository: str, path: Path, algorithm: str) -> None:
        self.id = id
        self.repository = repository
        self.offset = path.stat().st_size
        self._uploads = uploads
        self._root = root
        self._path = path
        self._algorithm = algorithm
        self._hasher = Digest.hasher(algorithm) if self.offset == 0 else None

    async def write(self, blocks: Sequence[bytes]) -> None:
        await self._root.run(lambda: self._write(blocks))

    async def commit(self, digest: Digest) -> None:
        await self._root.run(lambda: self._commit(digest))

    async def cancel(self) -> None:
        await self._root.run(self._end)

    def _write(self, blocks: Sequence[bytes]) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for block in blocks:
                rest = memoryview(block)
                while rest:
                    written = os.write(fd, rest)
                    if self._hasher is not None:
                        self._hasher.update(rest[:written])
                    self.offset += written
                    rest = rest[written:]
        finally:
            os.close(fd)

    def _commit(self, digest: Digest) -> None:
        fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            found = self._digest(fd, digest.algorithm)
            if found == digest:
                os.fsync(fd)
        finally:
            os.close(fd)
        if found != digest:
            self._end()
            raise DigestMismatch(f"the digest is {found}, not {digest}")
        self._root.adopt(self._path, digest)
        Links(self._root, self.repository).link_blob(digest)
        self._end()

    def _digest(self, fd: int, algorithm: str) -> Digest:
        if self._hasher is not None and algorithm == self._algorithm:
            return Digest(algorithm, self._hasher.hexdigest())
        with os.fdopen(os.dup(fd), "rb", buffering=0) as file:
            return Digest(algorithm, hashlib.file_digest(file, algorithm).hexdigest())

    def _end(self) -> None:
        self._uploads.drop(self.id)


class Uploads:
    """All uploads. Those that this process has seen are kept with their running hash."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._path = root.path / "uploads"
        self._known: dict[str, LocalUpload] = {}

    def begin(self, repository: str, algorithm: str) -> LocalUpload:
        id = str(uuid.uuid4())
        directory = self._path / id
        directory.mkdir(mode=0o700)
        path = directory / file_name(repository)
        path.touch(mode=0o600)
        upload = self._known[id] = LocalUpload(self, self._root, id, repository, path, algorithm)
        return upload

    def find(self, repository: str, id: str) -> LocalUpload:
        """Return an upload. Raises `UploadUnknown`."""
        known = self._known.get(id)
        if known is not None and known.repository == repository:
            return known
        path = f"uploads/{id}/{file_name(repository)}"
        if known is not None or not _ID.fullmatch(id) or self._root.tree.status(path) is None:
            raise UploadUnknown(f"there is no upload {id[:64]!r} in {repository}")
        upload = LocalUpload(self, self._root, id, repository, self._root.path / path, "sha256")
        return self._known.setdefault(id, upload)

    def drop(self, id: str) -> None:
        """Forget an upload and remove what is left of it."""
        self._known.pop(id, None)
        self._root.scratch.discard(self._path / id)

    def expire(self, age: float) -> int:
        """Drop what did not grow for `age` seconds; return how many."""
        before = time.time() - age
        old = [id for id in self._root.tree.names("uploads") if _ID.fullmatch(id) and self._last(id) < before]
        for id in old:
            self.drop(id)
        return len(old)

    def began(self, since: float) -> float | None:
        """Return when the oldest upload began that has grown `since` then; None if there is none."""
        alive = [id for id in self._root.tree.names("uploads") if _ID.fullmatch(id) and self._last(id) >= since]
        return min((self._first(id) for id in alive), default=None)

    def _last(self, id: str) -> float:
        """Return when an upload grew last, or at least when it began."""
        files = self._root.tree.names(f"uploads/{id}")
        status = self._root.tree.status(f"uploads/{id}/{files[0]}") if files else None
        return max(status.st_mtime if status is not None else 0.0, self._first(id))

    def _first(self, id: str) -> float:
        try:
            return (self._path / id).lstat().st_mtime  # nothing is added to the directory later
        except FileNotFoundError:
            return time.time()
