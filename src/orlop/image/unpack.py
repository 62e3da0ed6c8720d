"""Unpacking: the entries of a layer's tar become files beneath a directory, in the form that overlayfs reads.

The archive is hostile. A name is taken apart and its parent opened by openat2(2) with the directory as root, so that
links lead somewhere beneath it or nowhere; then the last component is made relative to that descriptor, replacing
what is there and following nothing. Whiteouts become character devices 0:0 and ``trusted.overlay.opaque``, and no
extended attribute of overlayfs is ever taken from an archive.

Most layers stand alone: every directory that an entry is in has its own entry, and every hard link leads to a file of
the layer. One that does not must be applied on top of what is below (`on_view`): made-up parents would hide the real
ones' modes. `unpack` tells of the first (`Unpacked.alone`), which the lowest layer may do without harm, and raises
`NeedsParents` for what cannot be done at all without them.

There is no sync here, and modes and times of directories are set at the end, when nothing changes in them any more.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from orlop.errors import InvalidArgument
from orlop.formats.tar.entry import Entry, Kind, TarError
from orlop.formats.tar.reader import TarReader
from orlop.formats.tar.whiteout import META_PREFIX, OPAQUE, removed_name
from orlop.image.attributes import (
    IMPLIED_ROOT,
    MAX_NAME,
    OPAQUE_XATTR,
    DirectoryAttributes,
    normalized,
    owner,
    set_xattr,
)
from orlop.linux import xattr
from orlop.linux.openat2 import open_in_root
from orlop.linux.tree import remove_entry

__all__ = ["Limits", "NeedsParents", "Unpacked", "unpack"]

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_CACHED = 64
_IMPLIED_MODE = 0o755
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


class NeedsParents(Exception):
    """The layer names something that only a layer below can have."""


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
    unpacker = _Unpacker(reader, root, on_view, limits or Limits())
    try:
        return unpacker.run()
    finally:
        unpacker.forget()


class _Unpacker:
    def __init__(self, reader: TarReader, root: int, on_view: bool, limits: Limits) -> None:
        self.reader = reader
        self.root = root
        self.on_view = on_view
        self.limits = limits
        self.result = Unpacked()
        self.parents: dict[str, int] = {"": root}  # open directories, the last used ones
        self.directories: dict[str, DirectoryAttributes] = {}  # what to set at the end
        self.whiteouts: set[str] = set()  # devices made by this layer
        self.made: set[str] = set()  # on a view: what this layer has, which its whiteouts do not mean
        self.remembered = 0

    def run(self) -> Unpacked:
        while (entry := self.reader.next()) is not None:
            self.result.entries += 1
            if self.result.entries > self.limits.entries:
                raise InvalidArgument(f"the layer has more than {self.limits.entries} entries")
            if not 0 <= entry.mtime < 1 << 63:
                entry.mtime = 0  # as Docker does with times that the system does not have
            try:
                self.apply(entry)
            except OSError as error:
                if error.errno not in _ARCHIVE_ERRORS:
                    raise
                raise TarError(f"cannot unpack {entry.name[:200]!r}: {error.strerror}") from error
        self.finish_directories()
        self.result.alone = not any(attributes.implied for attributes in self.directories.values())
        return self.result

    def forget(self) -> None:
        """Close all directories but the root: names may now lead elsewhere."""
        for path, fd in self.parents.items():
            if path:
                os.close(fd)
        self.parents = {"": self.root}

    def apply(self, entry: Entry) -> None:
        if len(self.parents) > _CACHED:
            self.forget()
        path = normalized(entry.name)
        if not path:
            self.set_root(entry)
            return
        parent_path, _, name = path.rpartition("/")
        if name.startswith(".wh."):
            self.apply_whiteout(entry, parent_path, name)
            return
        parent = self.parent(parent_path, entry)
        if self.on_view:
            self.note_made(path)
        kind = entry.kind
        if kind is Kind.FILE:
            self.make_file(entry, parent, name, path)
        elif kind is Kind.DIRECTORY:
            self.make_directory(entry, parent, name, path)
        elif kind is Kind.SYMLINK:
            self.make_symlink(entry, parent, name, path)
        elif kind is Kind.LINK:
            self.make_link(entry, parent, name, path)
        elif kind in (Kind.CHAR, Kind.BLOCK, Kind.FIFO):
            self.make_node(entry, parent, name, path)
        else:
            raise TarError(f"unhandled tar header type {entry.typeflag[0]}")

    def make_file(self, entry: Entry, parent: int, name: str, path: str) -> None:
        self.count(entry.size if entry.sparse is None else entry.stored)
        try:
            fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
        except FileExistsError:
            self.clear(parent, name, path)
            fd = os.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            if entry.sparse is None:
                for part in self.reader.body():
                    _write(fd, part)
            else:
                self.write_sparse(fd, entry)
            if entry.uid or entry.gid:
                os.fchown(fd, *owner(entry))
            os.fchmod(fd, entry.mode)
            for key, value in entry.xattrs.items():
                set_xattr(fd, key, value)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
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

    def make_directory(self, entry: Entry, parent: int, name: str, path: str) -> None:
        opaque = False
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                opaque = path in self.whiteouts
                self.clear(parent, name, path)
                os.mkdir(name, 0o700, dir_fd=parent)
        self.remember(path, entry)
        if opaque:
            self.make_opaque(path, self.parent(path, entry))

    def make_symlink(self, entry: Entry, parent: int, name: str, path: str) -> None:
        target = entry.linkname
        if not target or len(os.fsencode(target)) >= MAX_NAME:
            raise TarError(f"invalid symlink {entry.name!r} -> {target[:200]!r}")
        self.count(len(os.fsencode(target)))
        try:
            os.symlink(target, name, dir_fd=parent)
        except FileExistsError:
            self.clear(parent, name, path)
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
            source = self.existing(source_path)
            mode = os.stat(source_name or ".", dir_fd=source, follow_symlinks=False).st_mode
            if target in self.whiteouts:
                raise FileNotFoundError
        except (FileNotFoundError, NotADirectoryError):
            if self.on_view:
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
            self.clear(parent, name, path)
            self.make_link(entry, self.parent(path.rpartition("/")[0], entry), name, path)

    def make_node(self, entry: Entry, parent: int, name: str, path: str) -> None:
        kind = {Kind.CHAR: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO}[entry.kind]
        if not (0 <= entry.major < 1 << 12 and 0 <= entry.minor < 1 << 20):
            raise TarError(f"invalid device number of {entry.name!r}")
        device = os.makedev(entry.major, entry.minor)
        try:
            os.mknod(name, kind | 0o600, device, dir_fd=parent)
        except FileExistsError:
            self.clear(parent, name, path)
            os.mknod(name, kind | 0o600, device, dir_fd=parent)
        os.chown(name, *owner(entry), dir_fd=parent, follow_symlinks=False)
        os.chmod(name, entry.mode, dir_fd=parent)  # just made, and no link
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def apply_whiteout(self, entry: Entry, parent_path: str, name: str) -> None:
        if name == OPAQUE:
            self.make_opaque(parent_path, self.parent(parent_path, entry))
            return
        if name.startswith(META_PREFIX):
            return
        removed = removed_name(name)
        if not removed:
            raise TarError(f"invalid whiteout {entry.name!r}")
        parent = self.parent(parent_path, entry)
        path = f"{parent_path}/{removed}" if parent_path else removed
        if self.on_view:
            self.remove_below(parent, removed, path)
            return
        try:
            os.mknod(removed, stat.S_IFCHR, 0, dir_fd=parent)
            self.whiteouts.add(path)
            self.keep(len(path))
        except FileExistsError:
            # Only what is below is meant. A file of this layer hides it already, a directory must be made to.
            if stat.S_ISDIR(os.stat(removed, dir_fd=parent, follow_symlinks=False).st_mode):
                self.make_opaque(path, self.parent(path, entry))

    def make_opaque(self, path: str, directory: int) -> None:
        if not self.on_view:
            xattr.set_(directory, OPAQUE_XATTR, b"y")
            return
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            for name in os.listdir(fd):
                self.remove_below(fd, name, f"{path}/{name}" if path else name)
        finally:
            os.close(fd)

    def remove_below(self, parent: int, name: str, path: str) -> None:
        """On a view, remove what the layers below have at `path`, and leave what this layer has there."""
        if path not in self.made:
            try:
                remove_entry(parent, name)
            except FileNotFoundError:
                return
            self.forget()
        elif stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            try:
                self.make_opaque(path, fd)
            finally:
                os.close(fd)

    def note_made(self, path: str) -> None:
        while path and path not in self.made:
            self.made.add(path)
            self.keep(len(path))
            path = path.rpartition("/")[0]

    def set_root(self, entry: Entry) -> None:
        if entry.kind is not Kind.DIRECTORY:
            raise TarError(f"invalid name {entry.name!r}")
        self.remember("", entry)

    def remember(self, path: str, entry: Entry) -> None:
        """Set the attributes of the directory `path` at the end."""
        self.directories[path] = DirectoryAttributes(entry.mode, *owner(entry), entry.mtime, entry.xattrs)
        self.keep(len(path) + sum(map(len, entry.xattrs.values())))

    def keep(self, size: int) -> None:
        self.remembered += size
        if self.remembered > self.limits.memory:
            raise InvalidArgument("the layer has too many directories to remember")

    def parent(self, path: str, entry: Entry) -> int:
        """Return the directory `path`, open; make what is missing of it."""
        try:
            return self.existing(path)
        except (FileNotFoundError, NotADirectoryError):
            self.imply(path, entry)
            return self.existing(path)

    def existing(self, path: str) -> int:
        """Return the directory `path`, open and cached. Raises `OSError`."""
        fd = self.parents.get(path)
        if fd is None:
            fd = self.parents[path] = open_in_root(self.root, path, _DIRECTORY)
        return fd

    def imply(self, path: str, entry: Entry) -> None:
        """Make a directory that has no entry (yet), and those that it is in."""
        prefix = ""
        for name in path.split("/"):
            above = open_in_root(self.root, prefix or "/", _DIRECTORY)
            prefix = f"{prefix}/{name}" if prefix else name
            try:
                self.imply_one(above, name, prefix, entry)
            finally:
                os.close(above)

    def imply_one(self, parent: int, name: str, path: str, entry: Entry) -> None:
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            found = 0
        if stat.S_ISDIR(found):
            return
        if stat.S_ISLNK(found):
            try:
                os.close(open_in_root(self.root, path, _DIRECTORY))
            except FileNotFoundError:  # it leads to nothing here
                if self.on_view:
                    raise TarError(f"{path!r} is a link to nothing") from None
                raise NeedsParents(path) from None
            return
        if found and path not in self.whiteouts:
            raise TarError(f"{path!r} is not a directory")
        made_up = Entry(path, Kind.DIRECTORY, mode=_IMPLIED_MODE, mtime=entry.mtime)
        self.make_directory(made_up, parent, name, path)
        self.directories[path].implied = True
        if self.on_view:
            self.note_made(path)

    def clear(self, parent: int, name: str, path: str) -> None:
        """Remove what stands where an entry wants to be."""
        remove_entry(parent, name)
        self.whiteouts.discard(path)
        inside = f"{path}/"
        if path in self.directories:
            self.directories = {
                key: value for key, value in self.directories.items() if key != path and not key.startswith(inside)
            }
        others = {key: fd for key, fd in self.parents.items() if key and fd != parent}  # the caller still uses that
        for key, fd in others.items():
            del self.parents[key]
            os.close(fd)

    def count(self, size: int) -> None:
        self.result.size += size
        if self.result.size > self.limits.size:
            raise InvalidArgument(f"the layer has more than {self.limits.size} bytes")

    def finish_directories(self) -> None:
        self.forget()
        implied_root = "" not in self.directories
        if implied_root:
            self.directories[""] = DirectoryAttributes(_IMPLIED_MODE, 0, 0, 0, {})
        for path, attributes in self.directories.items():
            try:
                fd = open_in_root(self.root, path or "/", _OPEN_DIRECTORY)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise
                continue  # replaced under another name, through a link
            try:
                attributes.apply(fd)
                if implied_root and not path:
                    xattr.set_(fd, IMPLIED_ROOT, b"y")
            finally:
                os.close(fd)


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]
