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
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orlop.build.files.manifest import Manifest
from orlop.build.files.taking import Taking
from orlop.build.files.trees import ContextTree
from orlop.errors import InvalidArgument, NotFound
from orlop.formats.digest import Digest
from orlop.formats.tar.entry import Kind
from orlop.formats.tar.reader import TarReader
from orlop.image.compression import MAGIC_LENGTH, Read, decompressed, detect, peeked
from orlop.image.scratch import Scratch
from orlop.linux.filesystem import spread
from orlop.linux.proc import boot_id

__all__ = ["ContextStore", "Lease", "Loose", "Taken"]

_SMALL = 1 << 20  # bytes of a file that is looked at before it is written
_MOST_ENTRIES = 2_000_000
_MOST_BYTES = 1 << 40
_LIMIT = 2 << 30  # bytes that are kept of contexts nobody uses at present
_BOOT = "boot"
_NEW = ".new-"  # in the name of what is not whole yet
_CAPABILITY = "security.capability"
_WRITERS = 2


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
    """The store at `path`. Every method blocks and may be called from any thread."""

    def __init__(self, path: Path, scratch: Scratch, limit: int = _LIMIT) -> None:
        self._path = path
        self._root = str(path)
        self._scratch = scratch
        self._limit = limit
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._used: dict[str, float] = {}
        self._holds: Counter[str] = Counter()
        self._numbers = itertools.count()
        self._open()

    def missing(self, manifest: Manifest) -> list[str]:
        """Return the digests of what has to be sent for a context, sorted."""
        with self._lock:
            return sorted(digest for digest in manifest.digests if digest not in self._sizes)

    def hold(self, manifest: Manifest) -> Lease:
        """Keep what a context holds; also what is yet to come of it."""
        return Lease(self, manifest.digests)

    def tree(self, manifest: Manifest) -> ContextTree:
        """Return a context as a tree to copy from."""
        return ContextTree(manifest, self)

    def open(self, digest: str) -> int:
        """Return a descriptor of a content, for reading. Raises `NotFound`."""
        try:
            return os.open(self._name(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise NotFound(f"{digest} of the build's context is gone") from None

    def put(self, digest: Digest | str, size: int, read: Read) -> bool:
        """Take a content of `size` bytes; tell whether it was new.

        Raises `InvalidArgument` if it is another one, and `OSError`.
        """
        hasher, place = hashlib.sha256(), self._name(str(digest))
        fresh = Path(f"{place}{_NEW}{next(self._numbers)}")
        left = size
        try:
            with open(_created(str(fresh)), "wb", buffering=0) as file:
                while left and (block := read()):
                    hasher.update(block)
                    file.write(block)
                    left -= len(block)
            if left or f"sha256:{hasher.hexdigest()}" != str(digest):
                raise InvalidArgument(f"a file of the context has changed while it was sent: it is not {digest}")
            return self.enter(fresh, str(digest), size)
        finally:
            fresh.unlink(missing_ok=True)

    def put_small(self, digest: str, data: bytes) -> None:
        """Take a content that is in memory. Raises `InvalidArgument` if it is another one, and `OSError`."""
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise InvalidArgument(f"a file of the context has changed while it was sent: it is not {digest}")
        self.write(digest, data)

    def take_tar(self, read: Read) -> Taken:
        """Take a context that is a tar, compressed or not. Raises `InvalidArgument` for what is none, and `OSError`.

        Owners mean nothing in a context; hard links become files, sockets are left out.
        """
        start, read = peeked(read, MAGIC_LENGTH)
        taking = Taking(self, TarReader(decompressed(read, detect(start))))
        try:
            manifest = taking.run()
            return Taken(manifest, taking.hashed, taking.written, taking.bytes)
        finally:
            taking.close()

    def collect(self) -> int:
        """Remove what nobody uses, the longest unused first, until what is left is within the limit; return bytes."""
        with self._lock:
            loose = [digest for digest in self._sizes if not self._holds[digest]]
            total = sum(self._sizes[digest] for digest in loose)
            freed = 0
            for digest in sorted(loose, key=lambda digest: self._used.get(digest, 0)):
                if total - freed <= self._limit:
                    break
                self._place(digest).unlink(missing_ok=True)
                freed += self._sizes.pop(digest)
                self._used.pop(digest, None)
            return freed

    def loose(self) -> list[Loose]:
        """Return what nobody uses at present, and could be dropped."""
        with self._lock:
            found = [(digest, self._used.get(digest, 0)) for digest in self._sizes if not self._holds[digest]]
        return [Loose(digest, _allocated(self._place(digest)), int(used * 1e9)) for digest, used in found]

    def drop(self, digests: Iterable[str]) -> int:
        """Remove contents, but what somebody uses again; return the bytes that the disk got back."""
        freed = 0
        with self._lock:
            for digest in digests:
                if digest in self._sizes and not self._holds[digest]:
                    freed += _allocated(self._place(digest))
                    self._place(digest).unlink(missing_ok=True)
                    del self._sizes[digest]
                    self._used.pop(digest, None)
        return freed

    def materialize(self, manifest: Manifest, path: str) -> Path:
        """Make a directory or file of what `path` of a context is; the caller discards it. Raises `NotFound`."""
        tree = self.tree(manifest)
        place = tree.resolve(path.strip("/"))
        found = None if place is None else tree.look(place)
        if found is None:
            raise NotFound(f'"/{path.strip("/")}": not found')
        target = self._scratch.name("context")
        pending = [(found.path, target)]
        while pending:
            source, where = pending.pop()
            item = tree.look(source)
            assert item is not None  # it was listed
            if item.kind is Kind.DIRECTORY:
                where.mkdir()
                pending += [(f"{source}/{name}" if source else name, where / name) for name in tree.names(source)]
            elif item.kind is Kind.SYMLINK:
                where.symlink_to(item.target)
                continue
            elif item.kind is Kind.FILE:
                self._copy(item.digest, where)
            elif item.kind is Kind.FIFO:
                os.mkfifo(where)
            else:
                continue  # a device of a context is copied as a node; nothing is there to be read of one
            where.chmod(item.mode)
            if item.kind is Kind.FILE:
                os.utime(where, ns=(item.mtime, item.mtime))
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
        place = self._name(digest)
        fresh = f"{place}{_NEW}{next(self._numbers)}"  # beside its place: ext4 puts a file near its directory
        try:
            fd = _created(fresh)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            finally:
                os.close(fd)
            with self._lock:
                os.rename(fresh, place)
                self._sizes[digest], self._used[digest] = len(data), time.time()
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise

    def _copy(self, digest: str, target: Path) -> None:
        source = self.open(digest)
        try:
            with open(target, "xb", buffering=0) as file:
                while os.copy_file_range(source, file.fileno(), 1 << 30):
                    pass
        finally:
            os.close(source)

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
                if directory.name.startswith("new-"):
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

    def _place(self, digest: str) -> Path:
        return Path(self._name(digest))

    def _name(self, digest: str) -> str:
        """Return the path of a content, whose digest was checked when it came in."""
        text = digest.partition(":")[2]
        return f"{self._root}/{text[:2]}/{text[2:]}"

    def fresh(self) -> Path:
        """Return a path that nobody else has, for a content to be written at."""
        return self._path / f"new-{os.getpid()}-{next(self._numbers)}"

    def enter(self, fresh: Path, digest: str, size: int) -> bool:
        """Take what was written at a fresh path, whose digest and size the caller knows; tell whether it was new."""
        with self._lock:
            new = digest not in self._sizes
            place = self._place(digest)
            try:
                os.rename(fresh, place)
            except FileNotFoundError:  # the first with this beginning
                place.parent.mkdir(exist_ok=True)
                os.rename(fresh, place)
            self._sizes[digest], self._used[digest] = size, time.time()
            return new

    def _hold(self, digests: Iterable[str]) -> None:
        with self._lock:
            now = time.time()
            for digest in digests:
                self._holds[digest] += 1
                self._used[digest] = now

    def _release(self, digests: Iterable[str]) -> None:
        with self._lock:
            for digest in digests:
                self._holds[digest] -= 1
                if self._holds[digest] <= 0:
                    del self._holds[digest]
        self.collect()


def _created(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:  # the first with this beginning
        Path(path).parent.mkdir(exist_ok=True)
        return os.open(path, flags, 0o600)


def _allocated(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
