"""Ingesting: bytes are written to the scratch directory and hashed on their way; a rename makes them a blob.

A blob is in ``content/`` only after its digest and its size were checked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest

__all__ = ["Ingest", "WrongDigest"]


class WrongDigest(InvalidArgument):
    """Content is not what its digest says."""

    def __init__(self, actual: Digest, expected: Digest) -> None:
        super().__init__(f"unexpected content digest: got {actual}, expected {expected}")


class Ingest:
    """A blob in the making. Used by one thread at a time."""

    def __init__(self, path: Path, place: Callable[[Digest], Path], algorithm: str) -> None:
        self.size = 0
        self._path: Path | None = path
        self._place = place
        self._algorithm = algorithm
        self._hasher = Digest.hasher(algorithm)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> Ingest:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`. Raises `OSError`."""
        self._hasher.update(data)
        self.size += len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    @property
    def digest(self) -> Digest:
        """The digest of what was written so far."""
        return Digest(self._algorithm, self._hasher.hexdigest())

    def commit(self, expected: Digest | None = None, size: int | None = None, *, durable: bool = True) -> Digest:
        """Verify the blob and let it be seen; return its digest.

        Without `durable` the caller syncs the file system before anything names the blob. Raises `InvalidArgument`
        if digest or size are not as expected, then nothing is kept.
        """
        if self._path is None:
            raise RuntimeError("this ingest has ended")
        digest = self.digest
        if size is not None and size != self.size:
            raise InvalidArgument(f"unexpected content size: got {self.size} bytes, expected {size}")
        if expected is not None and digest != expected:
            raise WrongDigest(digest, expected)
        target = self._place(digest)
        if not target.exists():
            if durable:
                os.fsync(self._fd)
            self._path.rename(target)
            self._path = None
            if durable:
                _sync_parent(target)
        self.abort()
        return digest

    def abort(self) -> None:
        """Drop what was not committed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None


def _sync_parent(path: Path) -> None:
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
