"""The merged tree of an image's layers: each name, with the layer that it comes from and its bytes.

Layers are applied from the bottom up, as overlayfs would show them. A file is an integer (`leaf`), for there may be a
million; a directory is a `Directory`. Of a file with several names in a layer the first one has the bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from orlop.errors import Conflict
from orlop.image.attributes import OPAQUE_XATTR
from orlop.image.layers import has_xattr
from orlop.image.walk import Found, open_beneath, walk

__all__ = ["MAX_ENTRIES", "Change", "Directory", "Kind", "Node", "apply", "layer_of", "leaves", "size_of"]

MAX_ENTRIES = 2_000_000
"""Files and directories that the layers of an image may have in all."""

_LAYER_BITS = 16
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Directory:
    """A directory: what is in it, and the topmost layer that says something about it."""

    layer: int
    entries: dict[str, Directory | int] = field(default_factory=dict)
    count: int = 0  # of the root alone: what was ever put into the tree


Node = Directory | int


class Kind(Enum):
    """What a layer did to a path."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Change:
    """What a layer did: `node` is what is at `path` from now on, `hidden` what was there and is not seen any more.

    `found` is the entry of the layer, valid until the next change is asked for; None where names of an opaque
    directory are removed.
    """

    path: str
    kind: Kind
    node: Node | None
    hidden: Node | None
    found: Found | None


def layer_of(node: Node) -> int:
    """Return the number of the layer that a node comes from, 0 is the lowest."""
    return node.layer if isinstance(node, Directory) else node & ((1 << _LAYER_BITS) - 1)


def size_of(leaf: int) -> int:
    """Return the bytes of a file."""
    return leaf >> _LAYER_BITS


def leaves(node: Node) -> Iterator[int]:
    """Yield every file that is in a node, or is the node."""
    pending = [node]
    while pending:
        node = pending.pop()
        if isinstance(node, Directory):
            pending.extend(node.entries.values())
        else:
            yield node


def apply(root: Directory, directory: str, layer: int) -> Iterator[Change]:
    """Put a layer's directory on top of the tree; yield what it does to files, and what it removes.

    Raises `OSError`, and `Conflict` for more than `MAX_ENTRIES` or too deep a tree.
    """
    fd = os.open(directory, _DIRECTORY)
    try:
        yield from _Layer(root, fd, layer).changes()
    finally:
        os.close(fd)


@dataclass(slots=True)
class _Place:
    path: str
    node: Directory
    opaque: bool  # what the layers below have here does not show


class _Layer:
    def __init__(self, root: Directory, fd: int, layer: int) -> None:
        self._root = root
        self._fd = fd
        self._layer = layer
        self._seen: set[tuple[int, int]] = set()

    def changes(self) -> Iterator[Change]:
        self._root.layer = self._layer
        opaque = _is_opaque(self._fd)
        way = [_Place("", self._root, opaque)]  # to the directory that the walk is in
        if opaque:
            yield from self._cleared("", self._root, self._fd)
        for found in walk(self._fd):
            self._root.count += 1
            if self._root.count > MAX_ENTRIES:
                raise Conflict(f"the image has more than {MAX_ENTRIES} files")
            parent = found.path.rpartition("/")[0]
            while way[-1].path != parent:
                way.pop()
            if stat.S_ISDIR(found.status.st_mode):
                yield from self._directory(found, way)
            else:
                yield from self._file(found, way[-1].node)

    def _directory(self, found: Found, way: list[_Place]) -> Iterator[Change]:
        above = way[-1]
        below = above.node.entries.get(found.name)
        if isinstance(below, Directory):
            below.layer = self._layer
            fd = open_beneath(found.directory, found.name, _DIRECTORY)
            try:
                opaque = above.opaque or _is_opaque(fd)
                if opaque:
                    yield from self._cleared(found.path, below, fd)
            finally:
                os.close(fd)
            way.append(_Place(found.path, below, opaque))
            return
        node = above.node.entries[found.name] = Directory(self._layer)
        way.append(_Place(found.path, node, False))
        if below is not None:
            yield Change(found.path, Kind.CHANGED, node, below, found)

    def _file(self, found: Found, directory: Directory) -> Iterator[Change]:
        status = found.status
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            below = directory.entries.pop(found.name, None)
            if below is not None:
                yield Change(found.path, Kind.REMOVED, None, below, found)
            return
        below = directory.entries.get(found.name)
        node = directory.entries[found.name] = self._size(status) << _LAYER_BITS | self._layer
        yield Change(found.path, Kind.ADDED if below is None else Kind.CHANGED, node, below, found)

    def _cleared(self, path: str, node: Directory, fd: int) -> Iterator[Change]:
        """Remove from an opaque directory what this layer does not have in it itself."""
        own = set(os.listdir(fd))
        for name in sorted(node.entries.keys() - own):
            hidden = node.entries.pop(name)
            yield Change(f"{path}/{name}" if path else name, Kind.REMOVED, None, hidden, None)

    def _size(self, status: os.stat_result) -> int:
        if status.st_nlink > 1:
            if (key := (status.st_dev, status.st_ino)) in self._seen:
                return 0
            self._seen.add(key)
        return status.st_size


def _is_opaque(fd: int) -> bool:
    return has_xattr(f"/proc/self/fd/{fd}", OPAQUE_XATTR, follow=True)
