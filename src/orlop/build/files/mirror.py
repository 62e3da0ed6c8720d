"""A part of a tree as files of this host, for steps that have it mounted."""

from __future__ import annotations

import os
from pathlib import Path

from orlop.build.files.trees import Found, Tree
from orlop.errors import NotFound
from orlop.formats.tar.entry import Kind

__all__ = ["mirror"]

_PIECE = 1 << 30


def mirror(tree: Tree, path: str, target: Path) -> None:
    """Make `target`, which is not there yet, a copy of what `path` leads to. Raises `NotFound` and `OSError`.

    Devices are left out: nothing is there to be read of one. Everything is root's.
    """
    place = tree.resolve(path)
    found = None if place is None else tree.look(place)
    if found is None:
        raise NotFound(f'"/{path}": not found')
    pending = [(found, target)]
    while pending:
        item, where = pending.pop()
        if item.kind is Kind.SYMLINK:
            where.symlink_to(item.target)
        elif item.kind is Kind.DIRECTORY:
            where.mkdir()
            where.chmod(item.mode)
            for name in tree.names(item.path):
                below = tree.look(f"{item.path}/{name}" if item.path else name)
                if below is not None:
                    pending.append((below, where / name))
        elif item.kind is Kind.FILE:
            _copy(tree, item, where)
        elif item.kind is Kind.FIFO:
            os.mkfifo(where)
            where.chmod(item.mode)


def _copy(tree: Tree, item: Found, target: Path) -> None:
    source = tree.open(item)
    try:
        with open(target, "xb", buffering=0) as file:
            while os.copy_file_range(source, file.fileno(), _PIECE):
                pass
            os.fchmod(file.fileno(), item.mode)
            os.utime(file.fileno(), ns=(item.mtime, item.mtime))
    finally:
        os.close(source)
