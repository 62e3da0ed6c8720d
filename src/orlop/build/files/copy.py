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
from orlop.build.graph import CopyFiles, MakeDirectory, Url
from orlop.errors import Conflict
from orlop.formats.tar.entry import Kind

__all__ = ["copy", "make_directory"]


def make_directory(layout: Layout, base: Tree, action: MakeDirectory) -> None:
    """Carry out a WORKDIR."""
    owner = owner_of(action.owner, base) if action.owner else (0, 0)
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
        chosen = [pick for pick in chosen if pick.found.kind is Kind.DIRECTORY or not self._left_out(pick)]
        named = posixpath.basename(action.destination) not in ("", ".", "..")
        into = not named or action.parents or len(chosen) > 1
        place = self._layout.destination(action.destination)
        for pick in chosen:
            self._check()
            self._pick(pick, place, into)

    def _left_out(self, pick: Pick) -> bool:
        return self._ignore is not None and self._ignore.ignored(pick.name)

    def _pick(self, pick: Pick, place: str, into: bool) -> None:
        found = pick.found
        if pick.above:
            place = self._parents(place, pick.above)
        if found.kind is Kind.DIRECTORY:
            self._make(place)
            self._contents(found, place)
            return
        name = pick.name
        if self._action.unpack and self._unpacked(found, place):
            return
        if into or self._layout.kind(place) is Kind.DIRECTORY:
            self._make(place)
            place = f"{place}/{name}" if place else name
        elif parent := place.rpartition("/")[0]:
            self._make(parent)
        self._layout.add(place, self._dressed(found), self._tree)

    def _parents(self, place: str, above: str) -> str:
        """Make the directories that a source is in at the destination, with their own attributes."""
        self._make(place)
        source = ""
        for part in above.split("/"):
            source = f"{source}/{part}" if source else part
            place = f"{place}/{part}" if place else part
            if self._layout.kind(place) is None:
                self._make(place)
        return place

    def _contents(self, directory: Found, place: str) -> None:
        for relative, item in walk(self._tree, directory, self._ignore):
            self._check()
            path = f"{place}/{relative}" if place else relative
            if item.kind is Kind.DIRECTORY:
                self._layout.add_directory(path, self._dressed(item))
            else:
                self._layout.add(path, self._dressed(item), self._tree)

    def _unpacked(self, found: Found, place: str) -> bool:
        """Unpack a local archive; False if the file is none."""
        if found.kind is not Kind.FILE:
            return False
        fd = self._tree.open(found)
        try:
            if not archive.is_archive(fd):
                return False
            os.lseek(fd, 0, os.SEEK_SET)
            if self._layout.kind(place) not in (None, Kind.DIRECTORY):
                raise Conflict(f"cannot copy to non-directory: /{place}")
            self._make(place)
            archive.unpack(fd, self._layout, place, self._owner, self._mode, self._check)
            return True
        finally:
            os.close(fd)

    def _make(self, path: str) -> None:
        """Make directories that are missing, with the owner and the mode that were asked for."""
        self._layout.make_directories(path, self._owner or (0, 0), self._mode.applied(0o755, directory=True))

    def _dressed(self, item: Found) -> Found:
        """Return a file with the owner and mode that it is to have."""
        uid, gid = self._owner or (item.uid, item.gid)
        mode = item.mode
        if item.kind is not Kind.SYMLINK:
            mode = self._mode.applied(item.mode, directory=item.kind is Kind.DIRECTORY)
        if isinstance(self._action.source, Url) and not self._action.mode:
            mode = 0o600
        return replace(item, uid=uid, gid=gid, mode=mode)
