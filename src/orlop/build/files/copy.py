"""Copying: the actions of a step, carried out on the layout of its layer."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable
from dataclasses import replace

from orlop.build.files import archive
from orlop.build.files.layout import Layout, Owner
from orlop.build.files.modes import Mode
from orlop.build.files.owners import owner_of
from orlop.build.files.select import Pick, excluded, picks, walk
from orlop.build.files.trees import Found, Tree
from orlop.build.graph import CopyFiles, Inline, MakeDirectory
from orlop.errors import Conflict, InvalidArgument
from orlop.formats.tar.entry import Kind

__all__ = ["copy", "make_directory"]


def make_directory(layout: Layout, base: Tree, action: MakeDirectory) -> None:
    """Carry out a WORKDIR."""
    owner = owner_of(action.owner, base) if action.owner else None
    layout.make_directories(layout.destination(action.path), owner, action.mode)


def copy(layout: Layout, base: Tree, tree: Tree, action: CopyFiles, check: Callable[[], None]) -> None:
    """Carry out a COPY or ADD; `check` is called now and then, and raises when the work is to end."""
    _Copy(layout, base, tree, action, check).run()


class _Copy:
    def __init__(self, layout: Layout, base: Tree, tree: Tree, action: CopyFiles, check: Callable[[], None]) -> None:
        self._layout = layout
        self._tree = tree
        self._action = action
        self._check = check
        self._owner: Owner | None = owner_of(action.owner, base) if action.owner else None
        self._mode = Mode(action.mode)
        self._ignore = excluded(action)

    def run(self) -> None:
        action = self._action
        chosen = picks(self._tree, action)
        place = self._layout.destination(action.destination)
        into = posixpath.basename(action.destination) in ("", ".", "..")
        for pick in chosen:
            self._check()
            self._layout.next_source()
            self._pick(pick, place, into=into, alone=len(chosen) == 1)

    def _pick(self, pick: Pick, place: str, *, into: bool, alone: bool) -> None:
        found = pick.found
        there = self._layout.kind(place)
        if found.kind is Kind.DIRECTORY:
            if there not in (None, Kind.DIRECTORY):
                raise Conflict(f"cannot copy to non-directory: /{place}")
            self._make(place)
            self._contents(pick, place)
            return
        if self._action.unpack and self._unpacked(found, place):
            return
        if into or there is Kind.DIRECTORY:
            self._make(place)
            place = f"{place}/{pick.name}" if place else pick.name
        elif not alone:
            raise InvalidArgument(
                f"When using {self._action.instruction} with more than one source file, "
                "the destination must be a directory and end with a /"
            )
        elif parent := place.rpartition("/")[0]:
            self._make(parent)
        self._layout.add(place, self._dressed(found), self._tree)

    def _contents(self, pick: Pick, place: str) -> None:
        for below in walk(self._tree, pick, self._ignore):
            self._check()
            path = f"{place}/{below.path}" if place else below.path
            if below.found.kind is Kind.DIRECTORY:
                self._layout.add_directory(path, self._dressed(below.found), keeps_owner=below.passed)
            else:
                self._layout.add(path, self._dressed(below.found), self._tree)

    def _unpacked(self, found: Found, place: str) -> bool:
        """Unpack a local archive; False if the file is none."""
        if found.kind is not Kind.FILE:
            return False
        fd = self._tree.open(found)
        try:
            if not archive.is_archive(fd):
                return False
            os.lseek(fd, 0, os.SEEK_SET)
            self._layout.make_directories(place, self._owner)
            archive.unpack(fd, self._layout, place, self._owner, self._check)
            return True
        finally:
            os.close(fd)

    def _make(self, path: str) -> None:
        """Make directories that are missing, with the owner and the mode that were asked for."""
        self._layout.make_directories(path, self._owner, self._mode.made)

    def _dressed(self, item: Found) -> Found:
        """Return a file with the owner and mode that it is to have."""
        inline = isinstance(self._action.source, Inline)
        if self._owner is None and not self._mode.text and not inline:
            return item
        uid, gid = self._owner or (item.uid, item.gid)
        mode = item.mode
        if item.kind is not Kind.SYMLINK:
            mode = self._mode.applied(item.mode, directory=item.kind is Kind.DIRECTORY)
        return replace(item, uid=uid, gid=gid, mode=mode, mtime=self._layout.now if inline else item.mtime)
