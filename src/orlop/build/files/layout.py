"""The layout of a layer of files: where what is copied comes to lie above a base, and the archive of that.

The base is looked at, and nothing is mounted or written: what a layer needs is put into the archive with everything
that it is in, so that the layer stands alone. Links of the base are followed inside it for a destination, as for
anything that a container opens; below what is copied they are replaced. With `link` the base is empty for all of this.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from orlop.build.files.trees import Found, Tree
from orlop.errors import Conflict, InvalidArgument
from orlop.formats.tar.entry import Entry, Kind
from orlop.formats.tar.output import TarOutput
from orlop.formats.tar.whiteout import OPAQUE, PREFIX

__all__ = ["EmptyTree", "Layout", "Owner"]

Owner = tuple[int, int]

_BLOCK = 1 << 20
_DIRECTORY_MODE = 0o755
_CAPABILITY = "security.capability"
_MAX_LINKS = 255


class EmptyTree:
    """A base without anything."""

    has_owners = True

    def look(self, path: str) -> Found | None:
        return None if path else Found("", Kind.DIRECTORY)

    def resolve(self, path: str) -> str | None:
        return None if path.strip("/.") else ""

    def names(self, path: str) -> list[str]:
        return []

    def open(self, found: Found) -> int:
        raise FileNotFoundError(found.path)

    def digest(self, found: Found) -> str:
        raise FileNotFoundError(found.path)


@dataclass(frozen=True, slots=True)
class _Made:
    """What this layer has at a path; a `fresh` directory hides all that the base may have below it."""

    found: Found
    fresh: bool = False


class Layout:
    """Writes one layer above `base`. `latest` is the time in ns that nothing is younger than, None for no bound.

    `now` is the time of what the layer makes itself.
    """

    def __init__(self, base: Tree, output: TarOutput, latest: int | None = None) -> None:
        self._base = base
        self._output = output
        self._latest = latest
        self.now = self._bounded(time.time_ns())
        self._made: dict[str, _Made] = {}
        self._names: dict[str, set[str]] = {}  # of what is made, by the directory
        self._first: dict[tuple[int, int], str] = {}  # inode → where its first name lies

    def next_source(self) -> None:
        """Take what is added from here on for files of their own: hard links to what was added before are none."""
        self._first.clear()

    def kind(self, path: str) -> Kind | None:
        """Return what there is at `path` now, None for nothing."""
        found = self._look(path)
        return None if found is None else found.kind

    def destination(self, path: str, root: str = "") -> str:
        """Return where an absolute path leads: links are followed, also those that lead to what is not there yet.

        The directory `root`, itself such a result, is what none of them leads out of.
        """
        pending = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        top = root.split("/") if root else []
        done = list(top)
        links = 0
        while pending:
            part = pending.pop()
            if part == "..":
                if len(done) > len(top):
                    done.pop()
                continue
            here = "/".join([*done, part])
            found = self._look(here)
            if found is None or found.kind is not Kind.SYMLINK:
                done.append(part)
                continue
            target = found.target
            links += 1
            if links > _MAX_LINKS:
                raise InvalidArgument(f"too many links in {path}")
            if target.startswith("/"):
                done = list(top)
            pending += [part for part in reversed(target.split("/")) if part not in ("", ".")]
        return "/".join(done)

    def make_directories(self, path: str, owner: Owner | None = None, mode: int = _DIRECTORY_MODE) -> None:
        """Make the directory `path` (as `destination` gives it) and those that it is in, where they are missing.

        As from mkdir(2), one in a directory with the set-group-ID bit has that, too, and its group unless there is an
        `owner`.
        """
        prefix = ""
        inside: Found | None = None
        for name in path.split("/") if path else ():
            prefix = f"{prefix}/{name}" if prefix else name
            found = self._look(prefix)
            if found is None:
                inherited = inside.mode & stat.S_ISGID if inside is not None else 0
                uid, gid = owner or (0, inside.gid if inside is not None and inherited else 0)
                found = Found(prefix, Kind.DIRECTORY, mode | inherited, uid, gid, mtime=self.now)
                self._add_directory(found)
            elif found.kind is not Kind.DIRECTORY:
                raise Conflict(f"mkdir /{prefix}: not a directory")
            elif prefix not in self._made:  # it is shown as it is
                self._output.add(self._entry(prefix, found))
                self._note(prefix, _Made(found))
            inside = found

    def add_directory(self, path: str, like: Found, *, keeps_owner: bool = False) -> None:
        """Put a directory with the attributes of `like` at `path`, or give these to the one that is there.

        With `keeps_owner` that one stays its owner's.
        """
        if not path:
            return
        there = self._look(path)
        if there is not None and there.kind is not Kind.DIRECTORY:
            raise Conflict(f"cannot copy to non-directory: /{path}")
        self._above(path)
        if keeps_owner and there is not None:
            like = replace(like, uid=there.uid, gid=there.gid)
        self._add_directory(replace(like, path=path))

    def add(self, path: str, item: Found, source: Tree) -> None:
        """Put a file that is no directory at `path`, in the place of whatever else is there."""
        name = path.rpartition("/")[2]
        if name.startswith(PREFIX):
            raise _is_whiteout(path)
        if not name or self.kind(path) is Kind.DIRECTORY:
            raise Conflict(f"cannot replace to directory /{path} with file")
        self._above(path)
        first = None if item.inode is None else self._first.get(item.inode)
        if first is not None and first != path and self._look(first) is not None:
            self._output.add(replace_entry(self._entry(path, item), Kind.LINK, first))
        elif item.kind is Kind.FILE:
            self._add_file(path, item, source)
        else:
            self._output.add(self._entry(path, item))
        if item.inode is not None:
            self._first.setdefault(item.inode, path)
        self._note(path, _Made(item))

    def unpack_directory(self, path: str, item: Found) -> None:
        """Put a directory of an archive at `path`, or give its attributes to the one that is there."""
        if self.kind(path) is Kind.DIRECTORY:
            self.add_directory(path, item)
            return
        below = self._below(path)
        hidden = path in self._made and below is not None and below.kind is Kind.DIRECTORY
        self._above(path)
        self._add_directory(item)
        if hidden:  # by what was here in between
            self._output.add(Entry(name=f"{path}/{OPAQUE}", mtime=self.now))

    def unpack_file(self, path: str, item: Found, blocks: Iterable[bytes | memoryview]) -> None:
        """Put a regular file of an archive at `path`, with what `blocks` have."""
        self._replace(path)
        self._output.begin(self._entry(path, item))
        for block in blocks:
            self._output.append(bytes(block))
        self._output.end()
        self._note(path, _Made(item))

    def unpack_link(self, path: str, first: str, item: Found) -> None:
        """Put one more name of the file `first` at `path`. One of the base is taken into this layer for that."""
        found = self._look(first)
        if found is None or found.kind is Kind.DIRECTORY or first == path or first.startswith(f"{path}/"):
            raise InvalidArgument(f"invalid hard link /{path} -> /{first}")
        self._replace(path)
        if first not in self._made:
            mode = found.mode if found.kind is Kind.SYMLINK else item.mode
            self.add(first, replace(found, mode=mode, uid=item.uid, gid=item.gid, mtime=item.mtime), self._base)
        made = self._made[first]  # one file has one mode and one owner, whatever the archive says of its other names
        self._output.add(replace_entry(self._entry(path, made.found), Kind.LINK, first))
        self._note(path, made)

    def unpack_other(self, path: str, item: Found) -> None:
        """Put a link, a device or a FIFO of an archive at `path`."""
        self._replace(path)
        self._output.add(self._entry(path, item))
        self._note(path, _Made(item))

    def _replace(self, path: str) -> None:
        """See to it that a file of an archive can be put at `path`, in the place of all that is there."""
        if path.rpartition("/")[2].startswith(PREFIX):
            raise _is_whiteout(path)
        self._above(path)
        pending = [path]
        while pending:  # what an earlier entry has made in a directory that is gone now
            directory = pending.pop()
            for name in self._names.pop(directory, ()):
                inside = f"{directory}/{name}"
                self._made.pop(inside, None)
                pending.append(inside)

    def _note(self, path: str, made: _Made) -> None:
        if path not in self._made:
            parent, _, name = path.rpartition("/")
            self._names.setdefault(parent, set()).add(name)
        self._made[path] = made

    def _add_file(self, path: str, item: Found, source: Tree) -> None:
        fd = source.open(item)
        try:
            entry = self._entry(path, item)
            block = os.read(fd, min(item.size + 1, _BLOCK))
            if len(block) == item.size:  # most files: all of it
                self._output.add(entry, block)
                return
            entry.size = os.fstat(fd).st_size
            self._output.begin(entry)
            while block:
                self._output.append(block)
                block = os.read(fd, _BLOCK)
            self._output.end()
        finally:
            os.close(fd)

    def _above(self, path: str) -> None:
        """See to it that the directories that `path` is in are in this layer."""
        parent = path.rpartition("/")[0]
        if not parent:
            return
        if parent not in self._made:
            self.make_directories(parent)

    def _add_directory(self, found: Found) -> None:
        made, below = self._made.get(found.path), self._below(found.path)
        fresh = below is None or below.kind is not Kind.DIRECTORY
        if made is not None:
            fresh = made.fresh or made.found.kind is not Kind.DIRECTORY
        self._output.add(self._entry(found.path, found))
        self._note(found.path, _Made(found, fresh))

    def _look(self, path: str) -> Found | None:
        """Return what there is at `path` now."""
        made = self._made.get(path)
        return self._below(path) if made is None else made.found

    def _below(self, path: str) -> Found | None:
        """Return what the base has; nothing is asked for below what is known to be missing there."""
        made = self._made.get(path.rpartition("/")[0])
        if made is not None and (made.fresh or made.found.kind is not Kind.DIRECTORY):
            return None
        return self._base.look(path)

    def _entry(self, path: str, item: Found) -> Entry:
        entry = Entry(
            name=path,
            kind=item.kind,
            mode=item.mode,
            uid=item.uid,
            gid=item.gid,
            mtime=self._bounded(item.mtime),
            linkname=item.target if item.kind is Kind.SYMLINK else "",
            major=item.major,
            minor=item.minor,
        )
        if item.kind is Kind.FILE:
            entry.size = item.size
            if item.capability:
                entry.xattrs[_CAPABILITY] = item.capability
        return entry

    def _bounded(self, mtime: int) -> int:
        whole = mtime // 10**9 * 10**9
        return whole if self._latest is None else min(whole, self._latest)


def _is_whiteout(path: str) -> Conflict:
    return Conflict(f"/{path} cannot be in a layer: names that begin with {PREFIX} say there that a file is removed")


def replace_entry(entry: Entry, kind: Kind, linkname: str) -> Entry:
    """Make a hard link of an entry."""
    entry.kind, entry.linkname, entry.size, entry.xattrs = kind, linkname, 0, {}
    return entry
