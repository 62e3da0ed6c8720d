"""Taking a context that is a tar: it becomes a manifest, and what is new of its files goes to the store.

The archive is hostile. Small files are hashed and written by threads, while it is read on.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from orlop.build.files.manifest import Item, Manifest
from orlop.build.files.writers import Writers
from orlop.errors import InvalidArgument
from orlop.formats.tar.entry import Entry, Kind
from orlop.formats.tar.reader import TarReader
from orlop.image.attributes import normalized

__all__ = ["Taking"]

_SMALL = 1 << 20  # bytes of a file that waits in memory
_MOST_ENTRIES = 2_000_000
_MOST_BYTES = 1 << 40
_CAPABILITY = "security.capability"


class Store(Protocol):
    """Where contents go."""

    def known(self, digest: str) -> bool:
        """Tell whether a content is there."""

    def write(self, digest: str, data: bytes) -> None:
        """Enter a content."""

    def fresh(self) -> Path:
        """Return a path to write at."""

    def enter(self, fresh: Path, digest: str, size: int) -> bool:
        """Take what was written; tell whether it was new."""


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
    """One tar on its way in. `hashed` files were read, `written` of them were new, of `bytes`. `close` it."""

    def __init__(self, store: Store, reader: TarReader) -> None:
        self.hashed = self.written = self.bytes = 0
        self._store = store
        self._reader = reader
        self._items: dict[str, Item | _File] = {}
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

    def close(self) -> None:
        """End the threads."""
        self._writers.close()

    def _take(self, entry: Entry) -> None:
        path = normalized(f"/{entry.name}")  # what leads out of the context stays at its root
        if not path or entry.kind is Kind.OTHER:
            return
        mtime = max(0, min(entry.mtime, 1 << 62))
        mode = entry.mode & 0o7777
        self._make_parents(path, mtime)
        item: Item | _File
        match entry.kind:
            case Kind.DIRECTORY:
                if path not in self._items or self._items[path].kind is not Kind.DIRECTORY:
                    self._forget(path)
                self._items[path] = Item(path, Kind.DIRECTORY, mode, mtime=mtime)
                return
            case Kind.FILE:
                item = self._file(entry, path, mode, mtime)
            case Kind.LINK:
                item = self._link(entry, path)
            case Kind.SYMLINK:
                item = Item(path, Kind.SYMLINK, 0o777, target=entry.linkname, mtime=mtime)
            case _:
                item = Item(path, entry.kind, mode, mtime=mtime, major=entry.major, minor=entry.minor)
        self._forget(path)
        self._items[path] = item

    def _make_parents(self, path: str, mtime: int) -> None:
        parent = path.rpartition("/")[0]
        while parent:
            known = self._items.get(parent)
            if known is not None and known.kind is Kind.DIRECTORY:
                return
            if known is not None:
                raise InvalidArgument(f"invalid context: {parent!r}, which {path!r} is in, is no directory")
            self._items[parent] = Item(parent, Kind.DIRECTORY, 0o755, mtime=mtime)
            parent = parent.rpartition("/")[0]

    def _forget(self, path: str) -> None:
        """Drop a directory's content where something else takes its place."""
        known = self._items.get(path)
        if known is not None and known.kind is Kind.DIRECTORY:
            inside = f"{path}/"
            self._items = {key: item for key, item in self._items.items() if not key.startswith(inside)}

    def _link(self, entry: Entry, path: str) -> Item:
        """A hard link is a file of its own here."""
        target = self._items.get(normalized(f"/{entry.linkname}"))
        if target is None or target.kind is Kind.DIRECTORY:
            raise InvalidArgument(f"invalid hard link {entry.name!r} -> {entry.linkname!r} in the context")
        if isinstance(target, _File):
            self._writers.settle()
            return target.item(path)
        fields = (target.kind, target.mode, target.size, target.digest, target.target, target.mtime)
        return Item(path, *fields, target.capability, target.major, target.minor)

    def _file(self, entry: Entry, path: str, mode: int, mtime: int) -> _File:
        if entry.sparse is not None:
            raise InvalidArgument(f"{entry.name!r} in the build's context is a sparse file: archive it without holes")
        self.hashed += 1
        file = _File(path, mode, entry.size, mtime, entry.xattrs.get(_CAPABILITY, b""))
        if entry.size > _SMALL:
            file.digest = self._large(entry.size)
            return file
        self._writers.add((file, b"".join(self._reader.body())))
        return file

    def _large(self, size: int) -> str:
        """Write a large file before its digest is known."""
        hasher, fresh = hashlib.sha256(), self._store.fresh()
        try:
            with open(fresh, "xb", buffering=0) as file:
                for block in self._reader.body():
                    hasher.update(block)
                    file.write(block)
            digest = f"sha256:{hasher.hexdigest()}"
            self._count(self._store.enter(fresh, digest, size), size)
            return digest
        finally:
            fresh.unlink(missing_ok=True)

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
