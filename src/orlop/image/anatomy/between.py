"""What differs between two images: the paths of their merged trees that only one has, or that are not the same.

Two files are the same if type, mode, owner, capabilities, link target, device and bytes are: times are not compared,
for every build makes new ones. What both images have from one layer is not looked at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from orlop.image.anatomy.same import same_content
from orlop.image.anatomy.tree import Directory, Kind, Node, apply, layer_of
from orlop.image.layers import has_xattr
from orlop.image.walk import open_beneath

__all__ = ["Difference", "compare_images"]

_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_CAPABILITY = "security.capability"


@dataclass(frozen=True, slots=True)
class Difference:
    """A path that differs, with its attributes in the first image and in the second, None where it is not there."""

    path: str
    kind: Kind
    before: os.stat_result | None
    after: os.stat_result | None


def compare_images(first: Sequence[str], second: Sequence[str]) -> Generator[Difference, None, None]:
    """Yield the differences between two images, given by their layers' directories, bottom first; sorted by path.

    Raises `OSError` and `Conflict`.
    """
    with ExitStack() as stack:
        here, there = _Side(first, stack), _Side(second, stack)
        pending: list[tuple[str, Node | None, Node | None]] = [("", here.tree, there.tree)]
        while pending:
            path, one, other = pending.pop()
            if path and (difference := _compare(path, one, other, here, there)) is not None:
                yield difference
            below = [node.entries if isinstance(node, Directory) else {} for node in (one, other)]
            names = sorted(below[0].keys() | below[1].keys(), key=os.fsencode, reverse=True)
            pending += [(f"{path}/{name}", below[0].get(name), below[1].get(name)) for name in names]


class _Side:
    """One of the images: its merged tree, and its layers open."""

    def __init__(self, directories: Sequence[str], stack: ExitStack) -> None:
        self.tree = Directory(0)
        self.names = directories
        self._fds: list[int] = []
        for layer, directory in enumerate(directories):
            fd = os.open(directory, _PLACE)
            stack.callback(os.close, fd)
            self._fds.append(fd)
            for _ in apply(self.tree, directory, layer):
                pass

    def status(self, path: str, node: Node) -> os.stat_result:
        parent = self.parent(path, node)
        try:
            return os.stat(path.rpartition("/")[2], dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(parent)

    def parent(self, path: str, node: Node) -> int:
        """Open the directory that a path is in, in the layer that it comes from."""
        return open_beneath(self._fds[layer_of(node)], path.rpartition("/")[0].lstrip("/"), _PLACE)


def _compare(path: str, one: Node | None, other: Node | None, here: _Side, there: _Side) -> Difference | None:
    if one is None or other is None:
        before = None if one is None else here.status(path, one)
        after = None if other is None else there.status(path, other)
        return Difference(path, Kind.ADDED if before is None else Kind.REMOVED, before, after)
    if here.names[layer_of(one)] == there.names[layer_of(other)]:
        return None
    before, after = here.status(path, one), there.status(path, other)
    if _attributes(before) == _attributes(after) and (
        stat.S_ISDIR(before.st_mode) or _same(path, one, other, here, there, before)
    ):
        return None
    return Difference(path, Kind.CHANGED, before, after)


def _attributes(status: os.stat_result) -> tuple[int, int, int, int, int]:
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return status.st_mode, status.st_uid, status.st_gid, status.st_rdev, size


def _same(path: str, one: Node, other: Node, here: _Side, there: _Side, status: os.stat_result) -> bool:
    name = path.rpartition("/")[2]
    first, second = here.parent(path, one), there.parent(path, other)
    try:
        if stat.S_ISLNK(status.st_mode):
            return os.readlink(name, dir_fd=first) == os.readlink(name, dir_fd=second)
        if not stat.S_ISREG(status.st_mode):
            return True
        return _capability(first, name) == _capability(second, name) and same_content(first, second, name)
    finally:
        os.close(first)
        os.close(second)


def _capability(directory: int, name: str) -> bytes | None:
    path = f"/proc/self/fd/{directory}/{name}"
    return os.getxattr(path, _CAPABILITY, follow_symlinks=False) if has_xattr(path, _CAPABILITY) else None
