"""The ground that a layer is unpacked on: its directories, and what must be known of them until the end.

Directories are opened by openat2(2) with the layer as root, so that links lead somewhere beneath it or nowhere, and
the last used ones stay open. Their modes and times are set by `finish`, when nothing changes in them any more. Here
stands also what covers the layers below: whiteouts (character devices 0:0), and directories marked as opaque.
"""

from __future__ import annotations

import errno
import os
import stat

from orlop.errors import InvalidArgument
from orlop.formats.tar.entry import TarError
from orlop.image.attributes import IMPLIED_ROOT, OPAQUE_XATTR, DirectoryAttributes
from orlop.linux import xattr
from orlop.linux.openat2 import open_in_root
from orlop.linux.tree import remove_entry

__all__ = ["Ground", "NeedsParents"]

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_CACHED = 64
_IMPLIED_MODE = 0o755


class NeedsParents(Exception):
    """The layer names something that only a layer below can have."""


class Ground:
    """The directories of one layer. `memory` is what may be remembered of them, in bytes of names and attributes."""

    def __init__(self, root: int, on_view: bool, memory: int) -> None:
        self.root = root
        self.on_view = on_view
        self.whiteouts: set[str] = set()  # devices made by this layer
        self._memory = memory
        self._parents: dict[str, int] = {"": root}  # open directories, the last used ones
        self._directories: dict[str, DirectoryAttributes] = {}  # what to set at the end
        self._made: set[str] = set()  # on a view: what this layer has, which its whiteouts do not mean

    @property
    def alone(self) -> bool:
        """Whether every directory has an entry of its own, so far."""
        return not any(attributes.implied for attributes in self._directories.values())

    def parent(self, path: str, mtime: int) -> int:
        """Return the directory `path`, open; make what is missing of it, as of `mtime`."""
        if len(self._parents) > _CACHED:
            self.forget()
        try:
            return self.existing(path)
        except (FileNotFoundError, NotADirectoryError):
            self._imply(path, mtime)
            return self.existing(path)

    def knows(self, path: str) -> bool:
        """Tell whether `path` is a directory that this layer has an entry for, and still is."""
        return not path or path in self._directories

    def existing(self, path: str) -> int:
        """Return the directory `path`, open and cached. Raises `OSError`."""
        fd = self._parents.get(path)
        if fd is None:
            fd = self._parents[path] = open_in_root(self.root, path, _DIRECTORY)
        return fd

    def make_directory(self, parent: int, name: str, path: str, attributes: DirectoryAttributes) -> None:
        """Make the directory `name`, or take the one that is there, and let it have `attributes` in the end."""
        opaque = False
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                opaque = path in self.whiteouts
                self.clear(parent, name, path)
                os.mkdir(name, 0o700, dir_fd=parent)
        self.remember(path, attributes)
        if opaque:
            self.cover(path, self.parent(path, attributes.mtime))

    def remember(self, path: str, attributes: DirectoryAttributes) -> None:
        """Set the attributes of the directory `path` at the end."""
        self._directories[path] = attributes
        self.keep(len(path) + sum(map(len, attributes.xattrs.values())))

    def note(self, path: str) -> None:
        """Note that this layer has `path`: on a view its whiteouts mean only what is below."""
        while self.on_view and path and path not in self._made:
            self._made.add(path)
            self.keep(len(path))
            path = path.rpartition("/")[0]

    def white_out(self, parent: int, name: str, path: str, mtime: int) -> None:
        """Take away what the layers below have at `path`."""
        if self.on_view:
            self._remove_below(parent, name, path)
            return
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)
            self.whiteouts.add(path)
            self.keep(len(path))
        except FileExistsError:
            # Only what is below is meant. A file of this layer hides it already, a directory must be made to.
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                self.cover(path, self.parent(path, mtime))

    def cover(self, path: str, directory: int) -> None:
        """Let nothing be seen of what the layers below have in a directory."""
        if not self.on_view:
            xattr.set_(directory, OPAQUE_XATTR, b"y")
            return
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            for name in os.listdir(fd):
                self._remove_below(fd, name, f"{path}/{name}" if path else name)
        finally:
            os.close(fd)

    def clear(self, parent: int, name: str, path: str) -> None:
        """Remove what stands where an entry wants to be."""
        remove_entry(parent, name)
        self.whiteouts.discard(path)
        inside = f"{path}/"
        if path in self._directories:
            self._directories = {
                key: value for key, value in self._directories.items() if key != path and not key.startswith(inside)
            }
        others = {key: fd for key, fd in self._parents.items() if key and fd != parent}  # the caller still uses that
        for key, fd in others.items():
            del self._parents[key]
            os.close(fd)

    def forget(self) -> None:
        """Close all directories but the root: names may now lead elsewhere."""
        for path, fd in self._parents.items():
            if path:
                os.close(fd)
        self._parents = {"": self.root}

    def finish(self) -> None:
        """Give every directory its attributes."""
        self.forget()
        implied_root = "" not in self._directories
        if implied_root:
            self._directories[""] = DirectoryAttributes(_IMPLIED_MODE, 0, 0, 0, {})
        for path, attributes in self._directories.items():
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

    def _remove_below(self, parent: int, name: str, path: str) -> None:
        """On a view, remove what the layers below have at `path`, and leave what this layer has there."""
        if path not in self._made:
            try:
                remove_entry(parent, name)
            except FileNotFoundError:
                return
            self.forget()
        elif stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            try:
                self.cover(path, fd)
            finally:
                os.close(fd)

    def _imply(self, path: str, mtime: int) -> None:
        """Make a directory that has no entry (yet), and those that it is in."""
        prefix = ""
        for name in path.split("/"):
            above = open_in_root(self.root, prefix or "/", _DIRECTORY)
            prefix = f"{prefix}/{name}" if prefix else name
            try:
                self._imply_one(above, name, prefix, mtime)
            finally:
                os.close(above)

    def _imply_one(self, parent: int, name: str, path: str, mtime: int) -> None:
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
        self.make_directory(parent, name, path, DirectoryAttributes(_IMPLIED_MODE, 0, 0, mtime, {}, implied=True))
        self.note(path)

    def keep(self, size: int) -> None:
        """Count `size` bytes that are remembered to the end. Raises `InvalidArgument` when they are too many."""
        self._memory -= size
        if self._memory < 0:
            raise InvalidArgument("the layer has too many names to remember")
