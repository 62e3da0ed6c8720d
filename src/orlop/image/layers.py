"""Layers: unpacked tars, each a directory in ``layers/`` that is complete or absent and never changes.

A layer that stands alone is kept by its diff id (``sha256-<hex>``) and shared by all images that have it, whatever
lies below. One that does not (see `orlop.image.unpack`) is kept by its chain id (``chain-sha256-<hex>``), since what
it is depends on its parents. An image takes the second where there is one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

from orlop.errors import Internal
from orlop.formats.identity import chain_ids
from orlop.image.attributes import IMPLIED_ROOT, OPAQUE_XATTR
from orlop.image.content import sync_directory
from orlop.image.scratch import Scratch
from orlop.linux.filesystem import exchange
from orlop.linux.tree import measure
from orlop.model.record import ImageRecord, LayerRecord

__all__ = ["Layers", "chain_name", "diff_name"]

_CHAIN = "chain-"
_EMPTY = "empty"  # what an image without layers stands on: an overlay needs something below


def diff_name(diff_id: str) -> str:
    """Return the directory name of a layer that stands alone."""
    return diff_id.replace(":", "-")


def chain_name(chain_id: str) -> str:
    """Return the directory name of a layer on top of its parents."""
    return _CHAIN + chain_id.replace(":", "-")


class Layers:
    """The layers beneath `path`. Every method may be called from any thread."""

    def __init__(self, path: Path, scratch: Scratch) -> None:
        self.path = path
        self.scratch = scratch
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / _EMPTY).mkdir(mode=0o755, exist_ok=True)
        self._names = set(os.listdir(path)) - {_EMPTY}
        self._lock = threading.Lock()
        self._opaque: dict[str, bool] = {}  # layers never change, so what is known of one stays true
        self._allocated: dict[str, int] = {}

    def has(self, name: str) -> bool:
        return name in self._names

    def names(self) -> list[str]:
        """Return the names of all layers."""
        return list(self._names)

    def strays(self) -> list[Path]:
        """Return what lies beside the layers and is none."""
        with self._lock:
            return [self.path / name for name in os.listdir(self.path) if name not in self._names and name != _EMPTY]

    @staticmethod
    def stands_alone(name: str) -> bool:
        """Tell by the name of a layer whether it is the same whatever lies below."""
        return not name.startswith(_CHAIN)

    def add(self, directory: Path, name: str) -> None:
        """Let the finished `directory` be the layer `name`; if there is one already, drop it. Raises `OSError`."""
        with self._lock:  # two operations may bring the same layer
            if name not in self._names:
                directory.rename(self.path / name)
                self._names.add(name)
                return
        self.scratch.discard(directory)

    def replace(self, directory: Path, name: str) -> None:
        """Let the finished `directory` be the layer `name` in place of the one that is there. Raises `OSError`.

        Nobody may use the old one: its files are removed.
        """
        with self._lock:
            try:
                exchange(directory, self.path / name)
            except FileNotFoundError:
                directory.rename(self.path / name)
            self._names.add(name)
            self._opaque.pop(name, None)
            self._allocated.pop(name, None)
        self.scratch.discard(directory)

    def remove(self, name: str) -> None:
        """Remove a layer; it is gone at once, its files a little later. Raises `OSError`."""
        with self._lock:
            self._names.discard(name)
            self._opaque.pop(name, None)
            self._allocated.pop(name, None)
            self.scratch.discard(self.path / name)

    def allocated(self, name: str) -> int:
        """Return the bytes that a layer takes on the disk, 0 if it is not there."""
        known = self._allocated.get(name)
        if known is None:
            known = measure(self.path / name).allocated
            with self._lock:
                if name in self._names:
                    self._allocated[name] = known
        return known

    def allocated_by_all(self) -> int:
        """Return the bytes on the disk of the whole directory, what is in it and no layer included."""
        others = [name for name in os.listdir(self.path) if name not in self._names]
        own = self.path.stat().st_blocks * 512 + sum(measure(self.path / name).allocated for name in others)
        return own + sum(self.allocated(name) for name in self.names())

    def sync_names(self) -> None:
        """Make the names of new layers durable."""
        sync_directory(self.path)

    def find(self, diff_ids: Sequence[str]) -> list[str | None]:
        """Return the name of each layer of a chain, bottom first; None where it is not there."""
        found: list[str | None] = []
        for diff_id, chain_id in zip(diff_ids, chain_ids(diff_ids), strict=True):
            candidates = (chain_name(chain_id), diff_name(diff_id))
            found.append(next((name for name in candidates if name in self._names), None))
        return found

    def names_of(self, record: ImageRecord) -> list[str]:
        """Return the names of an image's layers, bottom first. Raises `errors.Internal` if one is gone."""
        return self.names_of_chain(record.layers, f"image {record.id}")

    def names_of_chain(self, layers: Sequence[LayerRecord], owner: str) -> list[str]:
        """Return the names of `layers`, bottom first. Raises `errors.Internal` if one of that `owner` is gone."""
        names = self.find([layer.diff_id for layer in layers])
        if None in names:
            raise Internal(f"a layer of {owner} is missing; check the data root")
        return [name for name in names if name is not None]

    def directories(self, record: ImageRecord) -> tuple[str, ...]:
        """Return the directories that an overlay of the image has below, topmost first."""
        return self.stack(self.names_of(record))

    def stack(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the directories of the layers `names` (bottom first), topmost first, down to an opaque root.

        overlayfs itself does not look at the opaque mark of a root directory. Nor does it take a directory twice: of a
        layer that is there several times the topmost one hides all that the others have.
        """
        directories: list[str] = []
        for name in dict.fromkeys(reversed(names)):
            directories.append(str(self.path / name))
            known = self._opaque.get(name)
            if known is None:
                known = self._opaque[name] = self.opaque_root(directories[-1])
            if known:
                break
        return tuple(directories or [str(self.path / _EMPTY)])

    def root_attributes(self, directories: Sequence[str]) -> os.stat_result:
        """Return the attributes of an image's root: of its topmost layer that says something about it."""
        for directory in directories:
            if not has_xattr(directory, IMPLIED_ROOT):
                return os.stat(directory)
        return os.stat(directories[-1])

    @staticmethod
    def opaque_root(directory: str) -> bool:
        """Tell whether a layer hides everything below it."""
        return has_xattr(directory, OPAQUE_XATTR)


def has_xattr(path: str, name: str, *, follow: bool = False) -> bool:
    """Tell whether `path` has the extended attribute `name`. Raises `OSError`."""
    return name in os.listxattr(path, follow_symlinks=follow)
