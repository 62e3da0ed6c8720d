"""Partial blobs: what has come of a download, as ``tmp/partial/<algorithm>-<hex>``, waiting for the rest.

All that is known of one is in the file itself: its name is the digest that it is to have, its length how far it has
come, its time when it last grew. Nothing in it is believed: whoever completes a blob hashes all of it. A file grows or
is replaced, and never changes otherwise, so that a complete one may at the same time be a blob of the content store
(by a hard link): if the image does not come about, or the daemon is killed, its layers need not be fetched again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest

__all__ = ["DIRECTORY", "MAX_AGE", "Partial", "Partials"]

log = logging.getLogger(__name__)

DIRECTORY = "partial"
MAX_AGE = 7 * 24 * 3600.0
"""Seconds after which nobody is expected to come back for the rest."""

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = 256 << 10


class Partials:
    """The partial blobs beneath `path`. Every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._open: set[str] = set()

    def open(self, digest: Digest, size: int) -> Partial:
        """Take up the blob `digest`, which is to have `size` bytes, where it was left. One at a time has it open."""
        name = _name(digest)
        with self._lock:
            if name in self._open:
                raise RuntimeError(f"partial blob {digest} is in use")
            self._open.add(name)
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Partial(self.path / name, size, lambda: self._closed(name))
        except BaseException:
            self._closed(name)
            raise

    def forget(self, digests: Iterable[Digest]) -> None:
        """Remove those of `digests` that nobody is at work on: they have become what they were to be."""
        self._remove(_name(digest) for digest in digests)

    def sweep(self, unwanted: Callable[[Digest], bool], max_age: float = MAX_AGE) -> None:
        """Remove what is too old, what is `unwanted`, and what is no partial blob at all."""
        oldest = time.time() - max_age
        self._remove(
            path.name
            for path in self._files()
            if (digest := _digest(path.name)) is None or unwanted(digest) or path.lstat().st_mtime < oldest
        )

    def drop(self) -> int:
        """Remove all that nobody is at work on; return the bytes that this frees."""
        return self._remove(path.name for path in self._files())

    def reclaimable(self) -> int:
        """Return the bytes that `drop` would free."""
        with self._lock:
            return sum(_size(path) for path in self._files() if path.name not in self._open)

    def _files(self) -> list[Path]:
        return list(self.path.iterdir()) if self.path.exists() else []

    def _remove(self, names: Iterable[str]) -> int:
        freed = 0
        with self._lock:
            for name in list(names):
                if name in self._open:
                    continue
                path = self.path / name
                size = _size(path)
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:  # a directory that somebody made
                    log.warning("cannot remove %s: %s", path, error)
                    continue
                freed += size
        return freed

    def _closed(self, name: str) -> None:
        with self._lock:
            self._open.discard(name)


class Partial:
    """A blob on its way: one thread appends, another follows it from its beginning."""

    def __init__(self, path: Path, size: int, closed: Callable[[], None]) -> None:
        self.path = path
        self.size = size
        self.length = 0
        self._closed = closed
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self._fd = os.open(path, _FLAGS, 0o600)
        length = os.fstat(self._fd).st_size
        if length > size:
            self.reset()
        else:
            self.length = length

    @property
    def complete(self) -> bool:
        return self.length == self.size

    def append(self, data: bytes) -> None:
        """Add `data`. Raises `OSError`, and `InvalidArgument` for more than the blob may have."""
        with self._changed:
            if self._fd < 0:
                return  # given up meanwhile
            if self.length + len(data) > self.size:
                raise InvalidArgument(f"the blob has more than the {self.size} bytes that its descriptor says")
            rest = memoryview(data)
            while rest:
                written = os.pwrite(self._fd, rest, self.length)
                rest = rest[written:]
                self.length += written
            self._changed.notify()

    def fail(self, error: Exception) -> None:
        """Let whoever follows know that nothing more will come."""
        with self._changed:
            self._error = error
            self._changed.notify()

    def reader(self) -> Callable[[], bytes]:
        """Return a stream of all that is there and will come. It raises what `fail` was given, at once."""
        offset = 0

        def read() -> bytes:
            nonlocal offset
            with self._changed:
                while offset == self.length < self.size and self._error is None:
                    self._changed.wait()
                if self._error is not None:
                    raise self._error
                block = os.pread(self._fd, _READ, offset)
            offset += len(block)
            return block

        return read

    def reset(self) -> None:
        """Begin anew, with an empty file."""
        with self._changed:
            os.close(self._fd)
            self._fd = -1
            self.path.unlink(missing_ok=True)
            self._fd = os.open(self.path, _FLAGS | os.O_EXCL, 0o600)
            self.length = 0
            self._error = None

    def link(self, target: Path) -> None:
        """Let the file be found at `target`, too, if there is none yet."""
        try:
            os.link(self.path, target)
        except FileExistsError:
            return

    def close(self, *, keep: bool = True) -> None:
        """Leave the file for somebody who comes back for the rest, or remove it."""
        with self._changed:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            if not keep or not self.length:
                self.path.unlink(missing_ok=True)
        self._closed()


def _name(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.hex}"


def _digest(name: str) -> Digest | None:
    try:
        return Digest.parse(name.replace("-", ":", 1))
    except InvalidArgument:
        return None


def _size(path: Path) -> int:
    """Return the bytes that removing a file frees: none while the content store has it, too."""
    try:
        status = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return 0
    return status.st_size if status.st_nlink == 1 else 0
