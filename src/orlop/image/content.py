"""The content store: blobs by digest, in ``content/<algorithm>/<hex>``.

A blob that is there is whole and has its digest. It is never changed; it comes by `ingest` and goes by `remove`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from orlop.errors import InvalidArgument, NotFound
from orlop.formats.digest import ALGORITHMS, Digest, is_hex
from orlop.image.ingest import Ingest
from orlop.image.scratch import Scratch

__all__ = ["Content"]


class Content:
    """The blobs beneath `path`. Every method may be called from any thread."""

    def __init__(self, path: Path, scratch: Scratch) -> None:
        self._path = path
        self._scratch = scratch
        for algorithm in ALGORITHMS:
            (path / algorithm).mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, digest: Digest) -> Path:
        """Return where the blob is or would be."""
        return self._path / digest.algorithm / digest.hex

    def has(self, digest: Digest) -> bool:
        return self.path(digest).exists()

    def size(self, digest: Digest) -> int:
        """Return the bytes of a blob. Raises `NotFound`."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise _missing(digest) from None

    def allocated(self, digest: Digest) -> int:
        """Return the bytes that a blob takes on the disk, 0 if there is none."""
        try:
            return self.path(digest).stat().st_blocks * 512  # stat(2): whatever the blocks of the file system
        except FileNotFoundError:
            return 0

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading. Raises `NotFound`."""
        try:
            return self.path(digest).open("rb", buffering=0)
        except FileNotFoundError:
            raise _missing(digest) from None

    def read(self, digest: Digest, limit: int = 8 << 20) -> bytes:
        """Return a small blob. Raises `NotFound`, and `InvalidArgument` when it has more than `limit` bytes."""
        if self.size(digest) > limit:
            raise InvalidArgument(f"content {digest} has more than {limit} bytes")
        return self.path(digest).read_bytes()

    def ingest(self, algorithm: str = "sha256") -> Ingest:
        """Begin a new blob; it is a context manager, and what was not committed at its end is dropped."""
        return Ingest(self._scratch.name("ingest"), self.path, algorithm)

    def put(self, data: bytes, algorithm: str = "sha256") -> Digest:
        """Store a small blob, durably, and return its digest."""
        digest = Digest.of(data, algorithm)
        if not self.has(digest):
            with self.ingest(algorithm) as ingest:
                ingest.write(data)
                ingest.commit(digest)
        return digest

    def remove(self, digest: Digest) -> int:
        """Remove a blob; return the bytes that it had, 0 if there was none."""
        path = self.path(digest)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        return size

    def digests(self) -> Iterator[Digest]:
        """Yield every blob's digest, in no order."""
        for algorithm, length in ALGORITHMS.items():
            for name in os.listdir(self._path / algorithm):
                if len(name) == length and is_hex(name):
                    yield Digest(algorithm, name)

    def strays(self) -> list[Path]:
        """Return what lies beside the blobs and is none, by its name."""
        found = [path for path in self._path.iterdir() if path.name not in ALGORITHMS]
        for algorithm, length in ALGORITHMS.items():
            for path in (self._path / algorithm).iterdir():
                if len(path.name) != length or not is_hex(path.name) or not path.is_file() or path.is_symlink():
                    found.append(path)
        return found

    def sync_names(self) -> None:
        """Make the names of new blobs durable (what they hold is made so by a sync of the file system)."""
        for algorithm in ALGORITHMS:
            sync_directory(self._path / algorithm)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _missing(digest: Digest) -> NotFound:
    return NotFound(f"content {digest}: not found")
