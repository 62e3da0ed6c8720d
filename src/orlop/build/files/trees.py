"""Trees that files are copied from: a context, the files of a heredoc. Those on a disk are in `disk_tree`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from orlop.build.files.manifest import Item, Manifest
from orlop.formats.tar.entry import Kind

__all__ = ["ContextTree", "Found", "InlineTree", "Tree", "resolved"]

_MAX_LINKS = 255


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a tree; `path` is relative, "" for the root. `mtime` is in ns; `inode` is of one with more names."""

    path: str
    kind: Kind
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    target: str = ""
    major: int = 0
    minor: int = 0
    capability: bytes = b""
    digest: str = ""  # of a regular file, where it is known
    inode: tuple[int, int] | None = None


class Tree(Protocol):
    """Files that do not change while they are looked at. Paths are relative; every method may block."""

    has_owners: bool
    """Whether owners of files mean something: else everything is root's."""

    def look(self, path: str) -> Found | None:
        """Return what is at `path` itself, links not followed at its end; None if nothing is."""

    def resolve(self, path: str) -> str | None:
        """Return where `path` leads, all links followed inside the tree; None for nowhere."""

    def names(self, path: str) -> Sequence[str]:
        """Return the sorted names in a directory."""

    def open(self, found: Found) -> int:
        """Return a descriptor of a regular file, for reading. Raises `OSError`."""

    def digest(self, found: Found) -> str:
        """Return the digest of a regular file's content. Raises `OSError`."""


class ContextTree:
    """A context: its manifest, and where the contents are (`open` gives a descriptor by a digest)."""

    has_owners = False

    def __init__(self, manifest: Manifest, store: Contents) -> None:
        self._store = store
        self._items = {item.path: item for item in manifest.items}
        self._names: dict[str, list[str]] = {}
        for path in self._items:
            parent, _, name = path.rpartition("/")
            self._names.setdefault(parent, []).append(name)

    def look(self, path: str) -> Found | None:
        if not path:
            return Found("", Kind.DIRECTORY)
        item = self._items.get(path)
        return None if item is None else _found(item)

    def resolve(self, path: str) -> str | None:
        return resolved(self, path)

    def names(self, path: str) -> Sequence[str]:
        return sorted(self._names.get(path, ()))

    def open(self, found: Found) -> int:
        return self._store.open(found.digest)

    def digest(self, found: Found) -> str:
        return found.digest


class Contents(Protocol):
    """Where the contents of a context are."""

    def open(self, digest: str) -> int:
        """Return a descriptor for reading. Raises `NotFound`."""


class InlineTree:
    """Files whose contents stand in the Dockerfile."""

    has_owners = False

    def __init__(self, files: Sequence[tuple[str, bytes]]) -> None:
        self._files = dict(files)

    def look(self, path: str) -> Found | None:
        if not path:
            return Found("", Kind.DIRECTORY)
        data = self._files.get(path)
        return None if data is None else Found(path, Kind.FILE, 0o644, size=len(data))

    def resolve(self, path: str) -> str | None:
        return path if not path or path in self._files else None

    def names(self, path: str) -> Sequence[str]:
        return [] if path else sorted(self._files)

    def open(self, found: Found) -> int:
        fd = os.memfd_create("heredoc", os.MFD_CLOEXEC)
        os.write(fd, self._files[found.path])
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    def digest(self, found: Found) -> str:
        return "sha256:" + hashlib.sha256(self._files[found.path]).hexdigest()


def resolved(tree: Tree, path: str) -> str | None:
    """Follow `path` through a tree that knows its links by their texts, as `Tree.resolve` says."""
    pending = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            del done[-1:]
            continue
        here = "/".join([*done, part])
        found = tree.look(here)
        if found is None:
            return None
        if found.kind is Kind.SYMLINK:
            links += 1
            if links > _MAX_LINKS:
                return None
            if found.target.startswith("/"):
                done = []
            pending += [part for part in reversed(found.target.split("/")) if part not in ("", ".")]
            continue
        if pending and found.kind is not Kind.DIRECTORY:
            return None
        done.append(part)
    return "/".join(done)


def _found(item: Item) -> Found:
    return Found(
        item.path,
        item.kind,
        item.mode,
        size=item.size,
        mtime=item.mtime,
        target=item.target,
        major=item.major,
        minor=item.minor,
        capability=item.capability,
        digest=item.digest,
    )
