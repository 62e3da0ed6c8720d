"""Making a layer of an upper directory: it is read beside the layers below, planned (`orlop.image.delta`), written.

The upper directory is looked at through a mount of its own that opens no devices. So are the layers below, merged. The
container may go on meanwhile; what is written is well formed in any case, and none of it from outside the directory.
Nothing of overlayfs goes into a layer: neither its attributes nor those that a nested overlay has left.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager

from orlop.errors import Conflict
from orlop.formats.tar.entry import Entry, Kind
from orlop.formats.tar.output import TarOutput, Write
from orlop.image.attributes import OPAQUE_XATTR
from orlop.image.delta import Change, Seen, Step, plan
from orlop.image.layers import has_xattr
from orlop.image.pack import Packer, capability, kind_of
from orlop.image.view import merged, sealed, whole
from orlop.image.walk import GONE, Found, open_beneath, walk
from orlop.linux.openat2 import open_in_root
from orlop.model.record import Rootfs

__all__ = ["LayerTar", "opened"]

_PLACE = os.O_PATH | os.O_DIRECTORY
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_BLOCK = 256 << 10


class LayerTar:
    """The layer that an upper directory would be, as it was when this was made by `opened`."""

    def __init__(self, upper: int, below: int, steps: list[Step], latest: int | None = None) -> None:
        self._upper = upper
        self._below = below
        self._steps = steps
        self._latest = latest

    @property
    def empty(self) -> bool:
        """Whether nothing has changed."""
        return not self._steps

    def write(self, write: Write) -> None:
        """Give the archive to `write`, piece by piece. Raises `OSError`."""
        output = TarOutput(write)
        packer = Packer(output, self._latest)
        with _Place(self._upper) as place:
            for step in self._steps:
                parent, _, name = step.path.rpartition("/")
                if step.mark:
                    output.add(Entry(step.path, Kind.FILE, mode=0o600))
                elif not step.path:
                    packer.add("./", self._upper, ".", os.stat(self._upper))
                elif (directory := place.directory(parent)) is not None:
                    try:
                        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if not _is_whiteout(status):
                        packer.add(step.path, directory, name, status)
        output.finish()


@contextmanager
def opened(
    rootfs: Rootfs,
    mount_points: Collection[str],
    stopped: Callable[[], bool] = lambda: False,
    *,
    latest: int | None = None,
    pid: int = 0,
) -> Iterator[LayerTar]:
    """Look at an upper directory and plan its layer; `mount_points` are absolute paths, as the container sees them.

    `stopped` is asked now and then whether to give up. What is younger than `latest` (seconds since the epoch) gets
    that time. `pid` is the first process of a container that runs. Raises `OSError`, and `Conflict` for what no layer
    can hold.
    """
    with ExitStack() as stack:
        upper = stack.enter_context(sealed(rootfs.upper))
        below = stack.enter_context(merged(rootfs.lower))
        with _Place(below) as beside:
            seen = list(_Reader(upper, beside, stopped).read())
        points = _places(rootfs, mount_points, pid) if any(map(_may_be_stub, seen)) else set()
        yield LayerTar(upper, below, plan(seen, points), latest)


class _Reader:
    """Reads the upper directory beside what is below."""

    def __init__(self, upper: int, below: _Place, stopped: Callable[[], bool]) -> None:
        self._upper = upper
        self._below = below
        self._stopped = stopped
        self._hidden = ""  # the directory, if the walk is in one, in which nothing of the layers below shows

    def read(self) -> Iterator[Seen]:
        yield self._root()
        for found in walk(self._upper):
            if self._stopped():
                raise Conflict("the engine is going down")
            if self._hidden and not found.path.startswith(f"{self._hidden}/"):
                self._hidden = ""
            yield self._look(found)

    def _root(self) -> Seen:
        upper, below = os.stat(self._upper), os.stat(self._below.root)
        same = _owner_and_mode(upper) == _owner_and_mode(below)
        return Seen("", Kind.DIRECTORY, Change.SAME if same else Change.CHANGED, Kind.DIRECTORY)

    def _look(self, found: Found) -> Seen:
        status, kind = found.status, kind_of(found.status)
        parent = found.path.rpartition("/")[0]
        directory = None if self._hidden else self._below.directory(parent)
        below = None if directory is None else _status(directory, found.name)
        opaque = kind is Kind.DIRECTORY and self._is_opaque(found)
        if kind is Kind.DIRECTORY and not self._hidden and (opaque or below is None or not stat.S_ISDIR(below.st_mode)):
            self._hidden = found.path
        return Seen(
            path=found.path,
            kind=kind,
            change=Change.ADDED if below is None or directory is None else _change(found, directory, below),
            below=None if below is None else kind_of(below),
            whiteout=_is_whiteout(status),
            opaque=opaque,
            empty=status.st_size == 0,
            links=1 if kind is Kind.DIRECTORY else status.st_nlink,
            inode=(status.st_dev, status.st_ino),
        )

    def _is_opaque(self, found: Found) -> bool:
        try:
            fd = open_beneath(found.directory, found.name, _PLACE)
        except OSError as error:
            if error.errno not in GONE:
                raise
            return False
        try:
            return has_xattr(f"/proc/self/fd/{fd}", OPAQUE_XATTR, follow=True)
        finally:
            os.close(fd)


class _Place:
    """A tree in which one directory after the other is looked at; the last one stays open."""

    def __init__(self, root: int) -> None:
        self.root = root
        self._path = ""
        self._fd: int | None = os.dup(root)

    def __enter__(self) -> _Place:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)

    def directory(self, path: str) -> int | None:
        """Return the directory `path`, open until the next call; None if there is none. Raises `OSError`."""
        if path != self._path:
            if self._fd is not None:
                os.close(self._fd)
            self._fd = None
            self._path = path
            try:
                self._fd = open_beneath(self.root, path, os.O_RDONLY | os.O_DIRECTORY)
            except OSError as error:
                if error.errno not in GONE:
                    raise
        return self._fd


def _status(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _change(found: Found, directory: int, below: os.stat_result) -> Change:
    """Compare a name with what is below it in `directory`."""
    status = found.status
    if stat.S_IFMT(status.st_mode) != stat.S_IFMT(below.st_mode) or _owner_and_mode(status) != _owner_and_mode(below):
        return Change.CHANGED
    if stat.S_ISDIR(status.st_mode):
        return Change.SAME if status.st_mtime_ns == below.st_mtime_ns else Change.STIRRED
    if (status.st_mtime_ns, status.st_rdev) != (below.st_mtime_ns, below.st_rdev):
        return Change.CHANGED
    if stat.S_ISLNK(status.st_mode):
        same = _target(found.directory, found.name) == _target(directory, found.name)
    elif stat.S_ISREG(status.st_mode):
        same = status.st_size == below.st_size and _same_content(found.directory, directory, found.name)
    else:
        same = True
    return Change.SAME if same else Change.CHANGED


def _owner_and_mode(status: os.stat_result) -> tuple[int, int, int]:
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def _target(directory: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno not in (*GONE, errno.EINVAL):
            raise
        return None


def _same_content(first: int, second: int, name: str) -> bool:
    """Tell whether two files have the same bytes and the same capabilities; a time says nothing of either."""
    with ExitStack() as stack:
        fds = []
        for directory in (first, second):
            try:
                fd = open_beneath(directory, name, _READ)
            except OSError as error:
                if error.errno not in (*GONE, errno.EACCES, errno.ENXIO, errno.ENODEV):
                    raise
                return False
            stack.callback(os.close, fd)
            fds.append(fd)
        if not all(stat.S_ISREG(os.fstat(fd).st_mode) for fd in fds) or capability(fds[0]) != capability(fds[1]):
            return False
        while block := os.read(fds[0], _BLOCK):
            if os.read(fds[1], len(block)) != block:
                return False
        return not os.read(fds[1], 1)


def _may_be_stub(seen: Seen) -> bool:
    return seen.change is Change.ADDED and (seen.empty or seen.kind is Kind.DIRECTORY)


def _places(rootfs: Rootfs, mount_points: Collection[str], pid: int) -> set[str]:
    """Return where mount points are, without leading slashes."""
    with whole(rootfs, pid) as view:
        return {place for path in mount_points if (place := _resolved(view, path))}


def _resolved(view: int, path: str) -> str:
    """Return where a path leads, links followed inside the root, without leading slash; "" for nowhere."""
    try:
        fd = open_in_root(view, path, os.O_PATH)
    except OSError as error:
        if error.errno not in (*GONE, errno.ENAMETOOLONG):
            raise
        return ""
    try:
        return os.readlink(f"/proc/self/fd/{fd}").lstrip("/")
    finally:
        os.close(fd)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
