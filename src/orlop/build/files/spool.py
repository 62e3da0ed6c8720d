"""Large contents whose digest is known only at their end: they are written, unless just that is there already."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Protocol

__all__ = ["spooled"]

_PIECE = 1 << 30


class Store(Protocol):
    """Where contents go."""

    def like(self, size: int) -> int | None:
        """Return a descriptor of a content of this size, None if there is none."""

    def known(self, digest: str) -> bool:
        """Tell whether a content is there."""

    def fresh(self) -> Path:
        """Return a path to write at."""

    def enter(self, fresh: Path, digest: str, size: int) -> bool:
        """Take what was written; tell whether it was new."""


def spooled(store: Store, size: int, blocks: Iterable[bytes | memoryview]) -> tuple[str, bool]:
    """Take a content of `size` bytes; return its digest, and whether it was new. Raises `OSError`.

    As long as it is the same as one of this size nothing is written: a large file is in most contexts what it was.
    """
    hasher, fresh = hashlib.sha256(), store.fresh()
    like = store.like(size)
    out: BinaryIO | None = None
    done = 0
    try:
        for block in blocks:
            hasher.update(block)
            if out is None and (like is None or os.pread(like, len(block), done) != block):
                out = open(fresh, "xb")  # noqa: SIM115 it is closed below
                if like is not None:
                    _copy(like, out.fileno(), done)
                    out.seek(done)
            if out is not None:
                out.write(block)
            done += len(block)
        digest = f"sha256:{hasher.hexdigest()}"
        if out is None and store.known(digest):
            return digest, False
        if out is None:  # what it is like was removed meanwhile
            out = open(fresh, "xb")  # noqa: SIM115 it is closed below
            if like is not None:
                _copy(like, out.fileno(), done)
        out.close()
        return digest, store.enter(fresh, digest, size)
    finally:
        if out is not None:
            out.close()
        if like is not None:
            os.close(like)
        fresh.unlink(missing_ok=True)


def _copy(source: int, target: int, count: int) -> None:
    """Copy the first bytes of a file to the beginning of another one."""
    done = 0
    while done < count and (step := os.copy_file_range(source, target, min(count - done, _PIECE), done, done)):
        done += step
