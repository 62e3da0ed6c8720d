"""The context store: what files of contexts hold, each content once, by its digest (`<data_root>/build/context`).

A client sends only what is not here; a context that comes as a tar is taken apart, and what is known of it is not
written again. Nothing in here is ever the only copy of anything: so nothing is synced, what another boot has left is
thrown away, and what no build has used for long goes when there is too much.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orlop.build.files.downloads import Downloads
from orlop.build.files.manifest import Manifest
from orlop.build.files.mirror import mirror
from orlop.build.files.taking import Taking
from orlop.build.files.trees import ContextTree
from orlop.errors import InvalidArgument, NotFound
from orlop.formats.tar.reader import TarReader
from orlop.image.compression import MAGIC_LENGTH, Read, decompressed, detect, peeked
from orlop.image.scratch import Scratch
from orlop.linux.filesystem import spread
from orlop.linux.proc import boot_id

__all__ = ["ContextStore", "Lease", "Loose", "Taken"]

_LIMIT = 2 << 30  # bytes that are kept of contexts nobody uses at present
_BOOT = "boot"
_NEW = ".new-"  # in the name of what is not whole yet


@dataclass(frozen=True, slots=True)
class Taken:
    """A context that came in; `hashed` files were read for their digests, `written` of them were new, of `bytes`."""

    manifest: Manifest
    hashed: int = 0
    written: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Loose:
    """A content that nobody uses: `size` is bytes on the disk, `used_at` ns."""

    digest: str
    size: int
    used_at: int


class Lease:
    """Contents that somebody needs, until `release`."""

    def __init__(self, store: ContextStore, digests: Iterable[str]) -> None:
        self._store = store
        self._digests = frozenset(digests)
        store._hold(self._digests)

    def release(self) -> None:
        """Need them no more; nothing happens the second time."""
        digests, self._digests = self._digests, frozenset()
        self._store._release(digests)


class ContextStore:
    """The store at `path`. Every method blocks and may be called from any thread.

    `downloads` says which of its contents came from where.
    """

    def __init__(self, path: Path, scratch: Scratch, limit: int = _LIMIT) -> None:
        self.downloads = Downloads()
        self._path = path
        self._root = str(path)
        self._scratch = scratch
        self._limit = limit
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._used: dict[str, float] = {}
        self._holds: Counter[str] = Counter()
        self._loose = 0  # bytes of what nobody holds
        self._growing = 0
        self._numbers = itertools.count()
        self._open()

    def missing(self, manifest: Manifest) -> list[str]:
        """Return the digests of what has to be sent for a context, sorted."""
        with self._lock:
            return sorted(digest for digest in manifest.digests if digest not in self._sizes)

    def hold(self, manifest: Manifest) -> Lease:
        """Keep what a context holds; also what is yet to come of it."""
        return Lease(self, manifest.digests)

    def hold_digests(self, digests: Iterable[str]) -> Lease:
        """Keep these contents."""
        return Lease(self, digests)

    @contextmanager
    def growing(self) -> Iterator[None]:
        """Let nothing be removed meanwhile: a context is coming in, and what it consists of is not held yet."""
        with self._lock:
            self._growing += 1
        try:
            yield
        finally:
            with self._lock:
                self._growing -= 1

    def tree(self, manifest: Manifest) -> ContextTree:
        """Return a context as a tree to copy from."""
        return ContextTree(manifest, self)

    def open(self, digest: str) -> int:
        """Return a descriptor of a content, for reading. Raises `NotFound`."""
        try:
            return os.open(self._name(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise NotFound(f"{digest} of the build's context is gone") from None

    def put(self, digest: str, size: int, read: Read) -> bool:
        """Take a content of `size` bytes; tell whether it was new.

        Raises `InvalidArgument` if it is another one, and `OSError`.
        """
        hasher, left = hashlib.sha256(), size
        fresh = Path(self._beside(digest))
        try:
            with open(_created(str(fresh)), "wb") as file:
                while left > 0 and (block := read()):
                    hasher.update(block)
                    file.write(block)
                    left -= len(block)
            if left or f"sha256:{hasher.hexdigest()}" != digest:
                raise _changed(digest)
            return self.enter(fresh, digest, size)
        finally:
            fresh.unlink(missing_ok=True)

    def put_small(self, digest: str, data: bytes) -> None:
        """Take a content that is in memory. Raises `InvalidArgument` if it is another one, and `OSError`."""
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise _changed(digest)
        if not self.known(digest):
            self.write(digest, data)

    def take_tar(self, read: Read) -> Taken:
        """Take a context that is a tar, compressed or not. Raises `InvalidArgument` for what is none, and `OSError`.

        Owners mean nothing in a context; hard links become files, sockets are left out. Until the caller holds the
        context it lets the store grow (`growing`).
        """
        start, read = peeked(read, MAGIC_LENGTH)
        with self.growing(), Taking(self, TarReader(decompressed(read, detect(start)))) as taking:
            manifest = taking.run()
            return Taken(manifest, taking.hashed, taking.written, taking.bytes)

    def collect(self) -> int:
        """Remove what nobody uses, the longest unused first, until what is left is within the limit; return bytes."""
        with self._lock:
            if self._loose <= self._limit or self._growing:
                return 0
            before = self._loose
            for digest in sorted(self._unheld(), key=lambda digest: self._used[digest]):
                if self._loose <= self._limit:
                    break
                self._remove(digest)
            return before - self._loose

    def loose(self) -> list[Loose]:
        """Return what nobody uses at present, and could be dropped."""
        with self._lock:
            found = [(digest, self._used[digest]) for digest in self._unheld()]
        return [Loose(digest, _allocated(self._name(digest)), int(used * 1e9)) for digest, used in found]

    def drop(self, digests: Iterable[str]) -> int:
        """Remove contents, but what somebody uses again; return the bytes that the disk got back."""
        freed = 0
        with self._lock:
            for digest in digests if not self._growing else ():
                if digest in self._sizes and not self._holds[digest]:
                    freed += _allocated(self._name(digest))
                    self._remove(digest)
        return freed

    def materialize(self, manifest: Manifest, path: str) -> Path:
        """Make a directory or file of what `path` of a context is; the caller discards it.

        Raises `NotFound` and `OSError`; then nothing is left.
        """
        target = self._scratch.name("context")
        try:
            mirror(self.tree(manifest), path.strip("/"), target)
        except BaseException:
            self._scratch.discard(target)
            raise
        return target

    def known(self, digest: str) -> bool:
        """Tell whether a content is here; that counts as using it."""
        with self._lock:
            if digest not in self._sizes:
                return False
            self._used[digest] = time.time()
            return True

    def write(self, digest: str, data: bytes) -> None:
        """Enter a small content whose digest was computed already. Raises `OSError`."""
        fresh = self._beside(digest)
        try:
            fd = _created(fresh)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            finally:
                os.close(fd)
            self.enter(fresh, digest, len(data))
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise

    def like(self, size: int) -> int | None:
        """Return a descriptor of the latest content of this size, None if there is none."""
        with self._lock:
            found = [digest for digest, other in self._sizes.items() if other == size]
            latest = max(found, key=lambda digest: self._used[digest], default=None)
        try:
            return None if latest is None else self.open(latest)
        except NotFound:  # it was removed in between
            return None

    def fresh(self) -> Path:
        """Return a path that nobody else has, for a content to be written at."""
        return self._path / f"{_NEW}{next(self._numbers)}"

    def enter(self, fresh: Path | str, digest: str, size: int) -> bool:
        """Take what was written at a fresh path, whose digest and size the caller knows; tell whether it was new."""
        place = self._name(digest)
        with self._lock:
            new = digest not in self._sizes
            try:
                os.rename(fresh, place)
            except FileNotFoundError:  # the first with this beginning
                os.makedirs(os.path.dirname(place), exist_ok=True)
                os.rename(fresh, place)
            if new and not self._holds[digest]:
                self._loose += size
            self._sizes[digest], self._used[digest] = size, time.time()
            return new

    def _open(self) -> None:
        """Read what is here; throw away what another boot has left, which may not have reached the disk."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark = self._path / _BOOT
        if not mark.exists() or mark.read_text() != boot_id():
            self._scratch.discard(self._path)
            self._path.mkdir(mode=0o700)
            mark.write_text(boot_id())
        spread(self._path)
        for directory in self._path.iterdir():
            if not directory.is_dir():
                if directory.name.startswith(_NEW):
                    directory.unlink()
                continue
            with os.scandir(directory) as entries:
                for entry in entries:
                    if _NEW in entry.name:
                        os.unlink(entry.path)
                        continue
                    status = entry.stat(follow_symlinks=False)
                    digest = f"sha256:{directory.name}{entry.name}"
                    self._sizes[digest], self._used[digest] = status.st_size, status.st_mtime
                    self._loose += status.st_size

    def _name(self, digest: str) -> str:
        """Return the path of a content, whose digest was checked when it came in."""
        text = digest.partition(":")[2]
        return f"{self._root}/{text[:2]}/{text[2:]}"

    def _beside(self, digest: str) -> str:
        """Return a path that nobody else has beside a content's place: ext4 puts a file near its directory."""
        return f"{self._name(digest)}{_NEW}{next(self._numbers)}"

    def _unheld(self) -> list[str]:
        return [digest for digest in self._sizes if digest not in self._holds]

    def _remove(self, digest: str) -> None:
        Path(self._name(digest)).unlink(missing_ok=True)
        self._loose -= self._sizes.pop(digest)
        del self._used[digest]

    def _hold(self, digests: Iterable[str]) -> None:
        with self._lock:
            now = time.time()
            for digest in digests:
                if digest in self._sizes:
                    self._used[digest] = now
                    if digest not in self._holds:
                        self._loose -= self._sizes[digest]
                self._holds[digest] += 1

    def _release(self, digests: Iterable[str]) -> None:
        with self._lock:
            for digest in digests:
                self._holds[digest] -= 1
                if self._holds[digest] <= 0:
                    del self._holds[digest]
                    self._loose += self._sizes.get(digest, 0)
        self.collect()


def _changed(digest: str) -> InvalidArgument:
    return InvalidArgument(f"a file of the context has changed while it was sent: it is not {digest}")


def _created(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:  # the first with this beginning
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, flags, 0o600)


def _allocated(path: str) -> int:
    try:
        return os.stat(path).st_blocks * 512
    except FileNotFoundError:
        return 0
