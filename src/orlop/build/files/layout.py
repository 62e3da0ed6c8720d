"""The layout of a layer of files: where what is copied comes to lie above a base, and the archive of that.

The base is looked at, and nothing is mounted or written: what a layer needs is put into the archive with everything
that it is in, so that the layer stands alone. Links of the base are followed inside it for a destination, as for
anything that a container opens; below what is copied they are replaced. With `link` the base is empty for all of this.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from orlop.build.files.trees import Found, Tree
from orlop.errors import Conflict, InvalidArgument
from orlop.formats.tar.entry import Entry, Kind
from orlop.formats.tar.output import TarOutput
from orlop.formats.tar.whiteout import PREFIX

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


@dataclass(slots=True)
class _Made:
    """What this layer has at a path."""

    kind: Kind
    target: str = ""
    fresh: bool = False  # a directory of which the base has nothing


class Layout:
    """Writes one layer above `base`. `latest` is the time in ns that nothing is younger than, None for no bound."""

    def __init__(self, base: Tree, output: TarOutput, latest: int | None = None) -> None:
        self._base = base
        self._output = output
        self._latest = latest
        self._now = self._bounded(time.time_ns())
        self._made: dict[str, _Made] = {}
        self._first: dict[tuple[int, int], str] = {}  # inode → where its first name lies

    def kind(self, path: str) -> Kind | None:
        """Return what there is at `path` now, None for nothing."""
        if not path:
            return Kind.DIRECTORY
        made = self._made.get(path)
        if made is not None:
            return made.kind
        found = self._below(path)
        return None if found is None else found.kind

    def destination(self, path: str) -> str:
        """Return where an absolute path leads: links are followed, also those that lead to what is not there yet."""
        pending = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        done: list[str] = []
        links = 0
        while pending:
            part = pending.pop()
            if part == "..":
                del done[-1:]
                continue
            here = "/".join([*done, part])
            target = self._target(here)
            if target is None:
                done.append(part)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise InvalidArgument(f"too many links in {path}")
            if target.startswith("/"):
                done = []
            pending += [part for part in reversed(target.split("/")) if part not in ("", ".")]
        return "/".join(done)

    def make_directories(self, path: str, owner: Owner = (0, 0), mode: int = _DIRECTORY_MODE) -> None:
        """Make the directory `path` (as `destination` gives it) and those that it is in, where they are missing.

        As from mkdir(2), one in a directory with the set-group-ID bit has that, too.
        """
        prefix = ""
        inherited = 0
        for name in path.split("/") if path else ():
            prefix = f"{prefix}/{name}" if prefix else name
            kind = self.kind(prefix)
            if kind is Kind.DIRECTORY:
                self._show(prefix)
                found = self._below(prefix)
                inherited = found.mode & stat.S_ISGID if found is not None else inherited
            elif kind is None:
                self._add_directory(Found(prefix, Kind.DIRECTORY, mode | inherited, *owner, mtime=self._now))
            else:
                raise Conflict(f"cannot copy to non-directory: /{prefix}")

    def add_directory(self, path: str, like: Found) -> None:
        """Put a directory with the attributes of `like` at `path`, or give these to the one that is there."""
        kind = self.kind(path)
        if kind not in (None, Kind.DIRECTORY):
            raise Conflict(f"cannot copy to non-directory: /{path}")
        self._above(path)
        if path:
            self._add_directory(replace(like, path=path))

    def add(self, path: str, item: Found, source: Tree) -> None:
        """Put a file that is no directory at `path`, in the place of whatever else is there."""
        name = path.rpartition("/")[2]
        if name.startswith(PREFIX):
            raise Conflict(
                f"/{path} cannot be in a layer: names that begin with {PREFIX} say there that a file is removed"
            )
        if not name or self.kind(path) is Kind.DIRECTORY:
            raise Conflict(f"cannot replace to directory /{path} with file")
        self._above(path)
        first = None if item.inode is None else self._first.get(item.inode)
        if first is not None and first != path and self._made.get(first, _Made(Kind.OTHER)).kind is item.kind:
            self._output.add(replace_entry(self._entry(path, item), Kind.LINK, first))
        elif item.kind is Kind.FILE:
            self._add_file(path, item, source)
        else:
            self._output.add(self._entry(path, item))
        if item.inode is not None:
            self._first.setdefault(item.inode, path)
        self._made[path] = _Made(item.kind, item.target)

    def stream(self, path: str, item: Found, body: Callable[[Callable[[bytes], None]], None]) -> None:
        """Put a regular file at `path`, whose content `body` gives piece by piece."""
        self._replace(path)
        entry = self._entry(path, item)
        self._output.begin(entry)
        body(self._output.append)
        self._output.end()
        self._made[path] = _Made(Kind.FILE)

    def link(self, path: str, first: str, item: Found) -> None:
        """Put one more name of a file of this layer at `path`."""
        if self._made.get(first, _Made(Kind.DIRECTORY)).kind is Kind.DIRECTORY:
            raise InvalidArgument(f"invalid hard link /{path} -> /{first}")
        self._replace(path)
        self._output.add(replace_entry(self._entry(path, item), Kind.LINK, first))
        self._made[path] = self._made[first]

    def put(self, path: str, item: Found) -> None:
        """Put a link, a device or a FIFO of an archive at `path`."""
        self._replace(path)
        self._output.add(self._entry(path, item))
        self._made[path] = _Made(item.kind, item.target)

    def has(self, path: str) -> bool:
        """Tell whether this layer has something at `path`."""
        return path in self._made

    def _replace(self, path: str) -> None:
        if path.rpartition("/")[2].startswith(PREFIX):
            raise Conflict(f"/{path} cannot be in a layer: names that begin with {PREFIX} say that a file is removed")
        if not path or self.kind(path) is Kind.DIRECTORY:
            raise Conflict(f"cannot replace to directory /{path} with file")
        self._above(path)

    def _add_file(self, path: str, item: Found, source: Tree) -> None:
        fd = source.open(item)
        try:
            entry = self._entry(path, item)
            entry.size = os.fstat(fd).st_size
            self._output.begin(entry)
            while block := os.read(fd, _BLOCK):
                self._output.append(block)
            self._output.end()
        finally:
            os.close(fd)

    def _above(self, path: str) -> None:
        """See to it that the directories that `path` is in are in this layer."""
        parent = path.rpartition("/")[0]
        if not parent:
            return
        made = self._made.get(parent)
        if made is not None and made.kind is Kind.DIRECTORY:
            return
        self.make_directories(parent)

    def _show(self, path: str) -> None:
        """Put a directory of the base into this layer, as it is."""
        if path not in self._made:
            found = self._below(path)
            assert found is not None  # it was seen to be a directory
            self._output.add(self._entry(path, found))
            self._made[path] = _Made(Kind.DIRECTORY)

    def _add_directory(self, found: Found) -> None:
        fresh = self._below(found.path) is None
        self._output.add(self._entry(found.path, found))
        self._made[found.path] = _Made(Kind.DIRECTORY, fresh=fresh or self._is_fresh(found.path))

    def _below(self, path: str) -> Found | None:
        """Return what the base has; nothing is asked for below what is known to be missing there."""
        parent = path.rpartition("/")[0]
        made = self._made.get(parent) if parent else None
        if made is not None and made.fresh:
            return None
        return self._base.look(path)

    def _is_fresh(self, path: str) -> bool:
        made = self._made.get(path)
        return made is not None and made.fresh

    def _target(self, path: str) -> str | None:
        """Return the target of a link at `path`, None if there is none."""
        made = self._made.get(path)
        if made is not None:
            return made.target if made.kind is Kind.SYMLINK else None
        found = self._below(path)
        return found.target if found is not None and found.kind is Kind.SYMLINK else None

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


def replace_entry(entry: Entry, kind: Kind, linkname: str) -> Entry:
    """Make a hard link of an entry."""
    entry.kind, entry.linkname, entry.size, entry.xattrs = kind, linkname, 0, {}
    return entry
