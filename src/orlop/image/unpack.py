"""Unpacking: the entries of a layer's tar become files beneath a directory, in the form that overlayfs reads.

The archive is hostile. A name is taken apart and its parent opened by openat2(2) with the directory as root, so that
links lead somewhere beneath it or nowhere; then the last component is made relative to that descriptor, replacing
what is there and following nothing. Whiteouts become character devices 0:0 and ``trusted.overlay.opaque``, and no
extended attribute of overlayfs is ever taken from an archive.

Most layers stand alone: every directory that an entry is in has its own entry, and every hard link leads to a file of
the layer. One that does not must be applied on top of what is below (`on_view`): made-up parents would hide the real
ones' modes. `unpack` tells of the first (`Unpacked.alone`), which the lowest layer may do without harm, and raises
`NeedsParents` for what cannot be done at all without them.

Small files are made by a `Crew`, unless the order matters: when another entry has had the name, or the directory has
none yet. There is no sync here. Modes and times of directories are set at the end, when nothing changes in them any
more.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from orlop.errors import InvalidArgument
from orlop.formats.tar.entry import Entry, Kind, TarError
from orlop.formats.tar.reader import TarReader
from orlop.formats.tar.whiteout import META_PREFIX, OPAQUE, removed_name
from orlop.image.attributes import MAX_NAME, DirectoryAttributes, normalized, owner
from orlop.image.crew import CREATE, SMALL, Crew, NewFile, dress
from orlop.image.ground import Ground, NeedsParents

__all__ = ["Limits", "NeedsParents", "Unpacked", "unpack"]

_NAME_SIZE = 64  # bytes that remembering a name costs
_ARCHIVE_ERRORS = frozenset(
    (errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP, errno.EMLINK, errno.EPERM, errno.ERANGE, errno.E2BIG, errno.ENOTDIR)
)
"""Errors of the kernel that are the archive's fault."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one layer may have at most."""

    entries: int = 2_000_000
    size: int = 1 << 40  # bytes
    memory: int = 256 << 20  # bytes of names and attributes that are remembered to the end


@dataclass(slots=True)
class Unpacked:
    """What a layer turned out to be. `size` is what Docker counts: the bytes of files and the lengths of links."""

    entries: int = 0
    size: int = 0
    alone: bool = True


def unpack(reader: TarReader, root: int, *, on_view: bool = False, limits: Limits | None = None) -> Unpacked:
    """Unpack the archive of `reader` into the empty directory `root`, or on top of the merged view that it is.

    Raises `InvalidArgument` (`TarError`) for what no layer may hold, `NeedsParents`, and `OSError`.
    """
    limits = limits or Limits()
    ground = Ground(root, on_view, limits.memory)
    crew = Crew()
    try:
        return _Unpacker(reader, ground, crew, limits).run()
    finally:
        crew.close()
        ground.forget()


class _Unpacker:
    def __init__(self, reader: TarReader, ground: Ground, crew: Crew, limits: Limits) -> None:
        self.reader = reader
        self.ground = ground
        self.crew = crew
        self.limits = limits
        self.result = Unpacked()
        self.names: set[int] = set()  # hashes of all paths that entries have had: one too many does no harm
        self.straight = True  # no entry was reached by a link to a directory, so that every file has one path

    def run(self) -> Unpacked:
        while (entry := self.reader.next()) is not None:
            self.result.entries += 1
            if self.result.entries > self.limits.entries:
                raise InvalidArgument(f"the layer has more than {self.limits.entries} entries")
            if not 0 <= entry.mtime < 1 << 63:
                entry.mtime = 0  # as Docker does with times that the system does not have
            self.attempt(lambda: self.apply(entry), entry.name)
        self.attempt(self.crew.drain, "")
        self.ground.finish()
        self.result.alone = self.ground.alone
        return self.result

    def attempt(self, step: Callable[[], None], name: str) -> None:
        """Do a step for the entry `name`; an error may be of a file that the crew was given before."""
        try:
            step()
        except OSError as error:
            if error.errno not in _ARCHIVE_ERRORS:
                raise
            name = str(error.filename or name) if isinstance(error.filename, str) else name
            raise TarError(f"cannot unpack {name[:200]!r}: {error.strerror}") from error

    def apply(self, entry: Entry) -> None:
        path = normalized(entry.name)
        if not path:
            self.set_root(entry)
            return
        parent_path, _, name = path.rpartition("/")
        if self.hand_over(entry, path, parent_path, name):
            return
        if name.startswith(".wh."):
            self.apply_whiteout(entry, parent_path, name)
            return
        parent = self.parent(parent_path, entry.mtime)
        self.ground.note(path)
        kind = entry.kind
        if kind is Kind.FILE:
            self.make_file(entry, parent, name, path)
        elif kind is Kind.DIRECTORY:
            self.ground.make_directory(parent, name, path, _attributes(entry))
        elif kind is Kind.SYMLINK:
            self.make_symlink(entry, parent, name, path)
        elif kind is Kind.LINK:
            self.make_link(entry, parent, name, path)
        elif kind in (Kind.CHAR, Kind.BLOCK, Kind.FIFO):
            self.make_node(entry, parent, name, path)
        else:
            raise TarError(f"unhandled tar header type {entry.typeflag[0]}")

    def hand_over(self, entry: Entry, path: str, parent_path: str, name: str) -> bool:
        """Leave a file to the crew if nothing depends on when it is made; else wait until all others are."""
        if self.ground.on_view:
            return False
        fresh = self.straight and hash(path) not in self.names and not self.ground.knows(path)
        fresh = fresh and self.ground.knows(parent_path) and name[:4] != ".wh."
        self.note(path)
        if fresh and entry.kind is Kind.FILE and entry.sparse is None and entry.size <= SMALL:
            self.count(entry.size)
            parent = self.ground.parent(parent_path, entry.mtime)
            data = b"".join(self.reader.body())
            file = NewFile(name, entry.mode, owner(entry), entry.mtime, entry.xattrs, data)
            self.crew.add(parent_path, parent, file)
            return True
        if not (fresh and entry.kind in (Kind.DIRECTORY, Kind.SYMLINK)):
            self.crew.drain()
        return False

    def parent(self, path: str, mtime: int) -> int:
        """Return the directory `path`, open; it is made if it is missing."""
        directory = self.ground.parent(path, mtime)
        self.straight = self.straight and self.ground.knows(path)
        return directory

    def note(self, path: str) -> None:
        """Note that there is something of this name now."""
        mark = hash(path)
        if mark not in self.names:
            self.ground.keep(_NAME_SIZE)
            self.names.add(mark)

    def make_file(self, entry: Entry, parent: int, name: str, path: str) -> None:
        self.count(entry.size if entry.sparse is None else entry.stored)
        try:
            fd = os.open(name, CREATE, 0o600, dir_fd=parent)
        except FileExistsError:
            self.ground.clear(parent, name, path)
            fd = os.open(name, CREATE, 0o600, dir_fd=parent)
        try:
            if entry.sparse is None:
                for part in self.reader.body():
                    _write(fd, part)
            else:
                self.write_sparse(fd, entry)
            dress(fd, entry.mode, owner(entry), entry.mtime, entry.xattrs)
        finally:
            os.close(fd)

    def write_sparse(self, fd: int, entry: Entry) -> None:
        if entry.size > self.limits.size:  # holes cost nothing, but a size must be one that a file can have
            raise InvalidArgument(f"the layer has more than {self.limits.size} bytes")
        os.ftruncate(fd, entry.size)
        fragments = iter(entry.sparse or ())
        left = 0
        for part in self.reader.body():
            while part:
                while not left:
                    offset, left = next(fragments)
                    os.lseek(fd, offset, os.SEEK_SET)
                step = part[:left]
                _write(fd, step)
                part = part[len(step) :]
                left -= len(step)

    def make_symlink(self, entry: Entry, parent: int, name: str, path: str) -> None:
        target = entry.linkname
        if not target or len(os.fsencode(target)) >= MAX_NAME:
            raise TarError(f"invalid symlink {entry.name!r} -> {target[:200]!r}")
        self.count(len(os.fsencode(target)))
        try:
            os.symlink(target, name, dir_fd=parent)
        except FileExistsError:
            self.ground.clear(parent, name, path)
            os.symlink(target, name, dir_fd=parent)
        if entry.uid or entry.gid:
            os.chown(name, *owner(entry), dir_fd=parent, follow_symlinks=False)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def make_link(self, entry: Entry, parent: int, name: str, path: str) -> None:
        target = normalized(entry.linkname)
        if target == path:
            return
        source_path, _, source_name = target.rpartition("/")
        try:
            source = self.ground.existing(source_path)
            mode = os.stat(source_name or ".", dir_fd=source, follow_symlinks=False).st_mode
            if target in self.ground.whiteouts:
                raise FileNotFoundError
        except (FileNotFoundError, NotADirectoryError):
            if self.ground.on_view:
                raise TarError(f"invalid hardlink {entry.name!r} -> {entry.linkname!r}: no such file") from None
            raise NeedsParents(entry.linkname) from None
        if stat.S_ISDIR(mode):
            raise TarError(f"invalid hardlink {entry.name!r} -> {entry.linkname!r}: it is a directory")
        try:
            os.link(source_name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            there = os.stat(source_name, dir_fd=source, follow_symlinks=False)
            if (found.st_dev, found.st_ino) == (there.st_dev, there.st_ino):
                return
            self.ground.clear(parent, name, path)
            self.make_link(entry, self.parent(path.rpartition("/")[0], entry.mtime), name, path)

    def make_node(self, entry: Entry, parent: int, name: str, path: str) -> None:
        kind = {Kind.CHAR: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO}[entry.kind]
        if not (0 <= entry.major < 1 << 12 and 0 <= entry.minor < 1 << 20):
            raise TarError(f"invalid device number of {entry.name!r}")
        device = os.makedev(entry.major, entry.minor)
        try:
            os.mknod(name, kind | 0o600, device, dir_fd=parent)
        except FileExistsError:
            self.ground.clear(parent, name, path)
            os.mknod(name, kind | 0o600, device, dir_fd=parent)
        os.chown(name, *owner(entry), dir_fd=parent, follow_symlinks=False)
        os.chmod(name, entry.mode, dir_fd=parent)  # just made, and no link
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def apply_whiteout(self, entry: Entry, parent_path: str, name: str) -> None:
        if name == OPAQUE:
            self.ground.cover(parent_path, self.parent(parent_path, entry.mtime))
            return
        if name.startswith(META_PREFIX):
            return
        removed = removed_name(name)
        if not removed:
            raise TarError(f"invalid whiteout {entry.name!r}")
        path = f"{parent_path}/{removed}" if parent_path else removed
        if not self.ground.on_view:
            self.note(path)
        self.ground.white_out(self.parent(parent_path, entry.mtime), removed, path, entry.mtime)

    def set_root(self, entry: Entry) -> None:
        if entry.kind is not Kind.DIRECTORY:
            raise TarError(f"invalid name {entry.name!r}")
        self.ground.remember("", _attributes(entry))

    def count(self, size: int) -> None:
        self.result.size += size
        if self.result.size > self.limits.size:
            raise InvalidArgument(f"the layer has more than {self.limits.size} bytes")


def _attributes(entry: Entry) -> DirectoryAttributes:
    return DirectoryAttributes(entry.mode, *owner(entry), entry.mtime, entry.xattrs)


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]
