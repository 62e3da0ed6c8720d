"""Taking a context that is a tar: it becomes a manifest, and what is new of its files goes to the store.

The archive is hostile. Small files are hashed and written by threads, while it is read on.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from orlop.build.files import spool
from orlop.build.files.manifest import Item, Manifest
from orlop.build.files.writers import Writers
from orlop.errors import InvalidArgument
from orlop.formats.tar.entry import Entry, Kind
from orlop.formats.tar.reader import TarReader
from orlop.formats.tar.sparse import filled
from orlop.image.attributes import normalized

__all__ = ["Taking"]

_SMALL = 1 << 20  # bytes of a file that waits in memory
_MOST_ENTRIES = 2_000_000
_MOST_BYTES = 1 << 40
_CAPABILITY = "security.capability"


class Store(spool.Store, Protocol):
    """Where contents go."""

    def write(self, digest: str, data: bytes) -> None:
        """Enter a content."""


@dataclass(eq=False, slots=True)
class _File:
    """A file whose digest may not be known yet."""

    path: str
    mode: int
    size: int
    mtime: int
    capability: bytes
    digest: str = ""
    kind: Kind = Kind.FILE

    def item(self, path: str) -> Item:
        return Item(path, Kind.FILE, self.mode, self.size, self.digest, mtime=self.mtime, capability=self.capability)


class Taking:
    """One tar on its way in. `hashed` files were read, `written` of them were new, of `bytes`."""

    def __init__(self, store: Store, reader: TarReader) -> None:
        self.hashed = self.written = self.bytes = 0
        self._store = store
        self._reader = reader
        self._items: dict[str, Item | _File] = {}
        self._filled: set[str] = set()  # directories with something in them
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self._writers = Writers(self._keep)

    def run(self) -> Manifest:
        """Take all. Raises `InvalidArgument` and `OSError`."""
        entries = total = 0
        while (entry := self._reader.next()) is not None:
            entries += 1
            total += entry.size
            if entries > _MOST_ENTRIES or total > _MOST_BYTES:
                raise InvalidArgument("the build's context is too large")
            self._take(entry)
        self._writers.settle()
        return Manifest(item.item(path) if isinstance(item, _File) else item for path, item in self._items.items())

    def __enter__(self) -> Taking:
        return self

    def __exit__(self, *error: object) -> None:
        """End the threads."""
        self._writers.close()

    def _take(self, entry: Entry) -> None:
        path = normalized(f"/{entry.name}")  # what leads out of the context stays at its root
        if not path or entry.kind is Kind.OTHER:
            return
        mtime = max(0, min(entry.mtime, 1 << 62))
        mode = entry.mode & 0o7777
        self._make_parents(path, mtime)
        if entry.kind is not Kind.DIRECTORY and path in self._filled:
            raise InvalidArgument(f"invalid context: {path!r}, which has files in it, is no directory later on")
        self._items[path] = self._item(entry, path, mode, mtime)

    def _item(self, entry: Entry, path: str, mode: int, mtime: int) -> Item | _File:
        match entry.kind:
            case Kind.FILE:
                return self._file(entry, path, mode, mtime)
            case Kind.LINK:
                return self._link(entry, path)
            case Kind.SYMLINK:
                return Item(path, Kind.SYMLINK, 0o777, target=entry.linkname, mtime=mtime)
            case _:
                return Item(path, entry.kind, mode, mtime=mtime, major=entry.major, minor=entry.minor)

    def _make_parents(self, path: str, mtime: int) -> None:
        parent = path.rpartition("/")[0]
        while parent and parent not in self._filled:
            self._filled.add(parent)
            known = self._items.get(parent)
            if known is not None and known.kind is not Kind.DIRECTORY:
                raise InvalidArgument(f"invalid context: {parent!r}, which {path!r} is in, is no directory")
            if known is None:
                self._items[parent] = Item(parent, Kind.DIRECTORY, 0o755, mtime=mtime)
            parent = parent.rpartition("/")[0]

    def _link(self, entry: Entry, path: str) -> Item | _File:
        """A hard link is a file of its own here."""
        target = self._items.get(normalized(f"/{entry.linkname}"))
        if target is None or target.kind is Kind.DIRECTORY:
            raise InvalidArgument(f"invalid hard link {entry.name!r} -> {entry.linkname!r} in the context")
        return target if isinstance(target, _File) else replace(target, path=path)

    def _file(self, entry: Entry, path: str, mode: int, mtime: int) -> _File:
        self.hashed += 1
        file = _File(path, mode, entry.size, mtime, entry.xattrs.get(_CAPABILITY, b""))
        body: Iterator[bytes | memoryview] = self._reader.body()
        if entry.sparse is not None:
            body = filled(entry.sparse, entry.size, self._reader.body())
        if entry.size > _SMALL:
            file.digest, new = spool.spooled(self._store, entry.size, body)
            self._count(new, entry.size)
        else:
            self._writers.add((file, b"".join(body)))
        return file

    def _count(self, new: bool, size: int) -> None:
        if new:
            with self._lock:
                self.written += 1
                self.bytes += size

    def _keep(self, read: tuple[_File, bytes]) -> None:
        file, data = read
        file.digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        with self._lock:
            known = file.digest in self._seen
            self._seen.add(file.digest)
        if not known and not self._store.known(file.digest):
            self._store.write(file.digest, data)
            self._count(True, len(data))
