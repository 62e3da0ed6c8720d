"""What each layer of an image does, and the bytes of it that nobody ever sees: replaced or removed by a later one."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from orlop.image.anatomy.same import same_content
from orlop.image.anatomy.tree import Change, Directory, Kind, apply, layer_of, leaves, size_of
from orlop.image.walk import GONE, open_beneath

__all__ = ["Count", "FileChange", "LayerSums", "dissect"]


@dataclass(slots=True)
class Count:
    """Files and their bytes."""

    files: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        self.files += 1
        self.bytes += size


@dataclass(slots=True)
class LayerSums:
    """What a layer did in all. `wasted` are its own bytes that a later layer hides, `copies` those that it repeats.

    Of what is removed the bytes are those of the layers below.
    """

    added: Count = field(default_factory=Count)
    changed: Count = field(default_factory=Count)
    removed: Count = field(default_factory=Count)
    wasted: int = 0
    copies: Count = field(default_factory=Count)

    @property
    def size(self) -> int:
        return self.added.bytes + self.changed.bytes


@dataclass(frozen=True, slots=True)
class FileChange:
    """What a layer did to one path. `hidden` are the bytes below that it hides; `copy`: it has the same contents."""

    layer: int
    path: str
    kind: Kind
    size: int
    hidden: int
    copy: bool


def dissect(directories: Sequence[str], sums: list[LayerSums]) -> Generator[FileChange, None, None]:
    """Yield what each layer does, bottom first; `sums` gets one element for each layer and is right at the end.

    Directories are told of only when they go. Raises `OSError` and `Conflict`.
    """
    root = Directory(0)
    sums.extend(LayerSums() for _ in directories)
    for layer, directory in enumerate(directories):
        for change in apply(root, directory, layer):
            yield _counted(change, layer, directories, sums)


def _counted(change: Change, layer: int, directories: Sequence[str], sums: list[LayerSums]) -> FileChange:
    own = sums[layer]
    size = size_of(change.node) if isinstance(change.node, int) else 0
    hidden = Count()
    if change.hidden is not None:
        for leaf in leaves(change.hidden):
            hidden.add(size_of(leaf))
            sums[layer_of(leaf)].wasted += size_of(leaf)
    copy = False
    if change.kind is Kind.ADDED:
        own.added.add(size)
    elif change.kind is Kind.CHANGED:
        own.changed.add(size)
        copy = size > 0 and _is_copy(change, directories)
        if copy:
            own.copies.add(size)
    else:
        own.removed.files += hidden.files
        own.removed.bytes += hidden.bytes
    return FileChange(layer, f"/{change.path}", change.kind, size, hidden.bytes, copy)


def _is_copy(change: Change, directories: Sequence[str]) -> bool:
    """Tell whether a changed file has the bytes of the one that it hides: only its attributes are others."""
    found, below = change.found, change.hidden
    if found is None or not isinstance(below, int) or not stat.S_ISREG(found.status.st_mode):
        return False
    if size_of(below) not in (0, found.status.st_size):  # 0: its bytes may count under another name
        return False
    parent = os.open(directories[layer_of(below)], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        old = open_beneath(parent, change.path.rpartition("/")[0], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return same_content(old, found.directory, found.name)
        finally:
            os.close(old)
    except OSError as error:
        if error.errno not in GONE:
            raise
        return False
    finally:
        os.close(parent)
