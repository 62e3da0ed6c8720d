"""Copy-up: a new volume starts with what the image has at the place where it is mounted.

The source is hostile (an image made it) and the target may be mounted in a container that runs already. So every step
is taken relative to a directory descriptor and never follows a link: a name that was exchanged in between ends in an
error, not in another file. Kept are owner, mode (set-id and sticky bits too), times, links, hard links, devices, FIFOs,
extended attributes and holes; the volume's own directory takes owner and mode of the image's, also from an empty one.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack

from orlop.linux.openat2 import BENEATH, NO_SYMLINKS, open_in_root, openat2
from orlop.linux.tree import empty_directory

__all__ = ["copy_up"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 16 << 20
_NO_ATTRIBUTES = (errno.ENOTSUP, errno.EPERM)


def copy_up(root_fd: int, path: str, volume_dir: str, subpath: str = "") -> bool:
    """Copy the directory `path` of the tree at `root_fd` into the directory `volume_dir` if that is empty.

    With `subpath` it is copied into that directory of the volume. Links in `path` are followed inside the tree, those
    in `subpath` inside the volume. Returns whether it copied: not into a directory with content, and not when there is
    none on either side. Raises `OSError`; then the volume is empty again.
    """
    with ExitStack() as stack:
        target = os.open(volume_dir, _DIRECTORY)
        stack.callback(os.close, target)
        try:
            if subpath:
                target = open_in_root(target, subpath, os.O_RDONLY | os.O_DIRECTORY)
                stack.callback(os.close, target)
            if os.listdir(target):
                return False
            source = open_in_root(root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return False
            raise
        stack.callback(os.close, source)
        try:
            _Copy(source, target).run()
        except BaseException:
            empty_directory(target)
            raise
        return True


class _Copy:
    """One copy of a tree; directories are named by their path relative to the two roots ("." for these)."""

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target
        self._links: dict[tuple[int, int], str] = {}  # inode → path of its first name in the target

    def run(self) -> None:
        directories = ["."]
        for directory in directories:  # grows on the way: a loop, for the depth of the tree is the image's choice
            directories += self._copy_entries(directory)
        for directory in reversed(directories):  # times last, from the leaves: entries change them
            with ExitStack() as stack:
                source, target = self._open(directory, stack)
                _keep_times(os.fstat(source), target)

    def _open(self, directory: str, stack: ExitStack) -> tuple[int, int]:
        opened = []
        for root in (self._source, self._target):
            opened.append(openat2(root, directory, os.O_RDONLY | os.O_DIRECTORY, resolve=BENEATH | NO_SYMLINKS))
            stack.callback(os.close, opened[-1])
        return opened[0], opened[1]

    def _copy_entries(self, directory: str) -> list[str]:
        """Copy one directory's attributes and what is in it; return the paths of the directories in it."""
        with ExitStack() as stack:
            source, target = self._open(directory, stack)
            _keep_owner_and_mode(os.fstat(source), target)
            _keep_attributes(source, target)
            below = []
            for name in os.listdir(source):
                path = f"{directory}/{name}"
                status = os.stat(name, dir_fd=source, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    os.mkdir(name, 0o700, dir_fd=target)
                    below.append(path)
                elif not self._link(path, name, target, status):
                    _copy_entry(name, status, source, target)
            return below

    def _link(self, path: str, name: str, target: int, status: os.stat_result) -> bool:
        """Make `name` a further link to an inode that is there already."""
        if status.st_nlink < 2:
            return False
        first = self._links.setdefault((status.st_dev, status.st_ino), path)
        if first == path:
            return False
        parent, _, first_name = first.rpartition("/")
        parent_fd = openat2(self._target, parent, os.O_PATH | os.O_DIRECTORY, resolve=BENEATH | NO_SYMLINKS)
        try:
            os.link(first_name, name, src_dir_fd=parent_fd, dst_dir_fd=target, follow_symlinks=False)
        finally:
            os.close(parent_fd)
        return True


def _copy_entry(name: str, status: os.stat_result, source: int, target: int) -> None:
    """Copy what is not a directory."""
    if stat.S_ISREG(status.st_mode):
        _copy_file(name, status, source, target)
        return
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
    elif stat.S_ISSOCK(status.st_mode):
        return  # nobody listens any more
    else:
        os.mknod(name, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=target)
    os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        path_fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=target)
        try:
            if stat.S_IFMT(os.fstat(path_fd).st_mode) != stat.S_IFMT(status.st_mode):
                raise OSError(errno.ESTALE, "changed while it was copied", name)
            os.chmod(f"/proc/self/fd/{path_fd}", stat.S_IMODE(status.st_mode))
        finally:
            os.close(path_fd)
    _keep_times(status, target, name)


def _copy_file(name: str, status: os.stat_result, source: int, target: int) -> None:
    with ExitStack() as stack:
        # O_NONBLOCK: were it exchanged for a FIFO since it was looked at, opening must not wait.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        reading = os.open(name, flags, dir_fd=source)
        stack.callback(os.close, reading)
        if not stat.S_ISREG(os.fstat(reading).st_mode):
            raise OSError(errno.ESTALE, "changed while it was copied", name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        writing = os.open(name, flags, 0o600, dir_fd=target)
        stack.callback(os.close, writing)
        os.truncate(writing, status.st_size)
        _copy_data(reading, writing, status.st_size)
        _keep_owner_and_mode(status, writing)
        _keep_attributes(reading, writing)
        _keep_times(status, writing)


def _copy_data(reading: int, writing: int, size: int) -> None:
    """Copy the data between the holes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(reading, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            raise
        end = os.lseek(reading, start, os.SEEK_HOLE)
        os.lseek(reading, start, os.SEEK_SET)
        os.lseek(writing, start, os.SEEK_SET)
        while start < end:
            copied = _copy_chunk(reading, writing, min(end - start, _CHUNK))
            if copied == 0:
                return
            start += copied


def _copy_chunk(reading: int, writing: int, size: int) -> int:
    try:
        return os.copy_file_range(reading, writing, size)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    return os.sendfile(writing, reading, None, size)  # filesystems that do not share a driver


def _keep_owner_and_mode(status: os.stat_result, fd: int) -> None:
    os.fchown(fd, status.st_uid, status.st_gid)
    os.fchmod(fd, stat.S_IMODE(status.st_mode))  # after the owner: changing that clears the set-id bits


def _keep_times(status: os.stat_result, fd: int, name: str | None = None) -> None:
    times = (status.st_atime_ns, status.st_mtime_ns)
    if name is None:
        os.utime(fd, ns=times)
    else:
        os.utime(name, ns=times, dir_fd=fd, follow_symlinks=False)


def _keep_attributes(source: int, target: int) -> None:
    try:
        attributes = os.listxattr(source)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return
    for attribute in attributes:
        if attribute.startswith("trusted.overlay."):
            continue
        try:
            os.setxattr(target, attribute, os.getxattr(source, attribute))
        except OSError as error:
            if error.errno not in _NO_ATTRIBUTES:  # a filesystem or a daemon that may not have them
                raise
