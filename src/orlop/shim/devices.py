"""Device nodes and terminals of a container, and the harmless things that hide paths from it.

What hides paths comes from a tmpfs of our own that no container has ever seen and that is mounted read-only: a null
device for files and an empty directory for directories. So an image cannot smuggle anything else into that place
(CVE-2025-31133), and a container cannot change the mode of a device that it shares with anyone.
"""

from __future__ import annotations

import os
import stat
from typing import Any, NamedTuple

from orlop.linux import mount, openat2, pty
from orlop.shim.failure import StartError

__all__ = ["DEFAULT", "Masks", "Terminal", "make_links", "make_node", "make_nodes", "open_null", "open_terminal"]

DEVPTS_SUPER_MAGIC = 0x1CD1
_NULL = (1, 3)
_PTMX = (5, 2)
_PTY_SLAVES = range(136, 144)

# Path below /dev: major, minor. All of them are character devices with mode 0666.
DEFAULT = {
    "null": _NULL,
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


class Terminal(NamedTuple):
    """Both ends of a terminal."""

    master: int
    slave: int


def open_null(root_fd: int, proc_fds: int) -> int:
    """Open a running container's /dev/null, or another one if what it has there is none; `proc_fds` as in `child`."""
    try:
        fd = openat2.open_in_root(root_fd, "/dev/null", os.O_PATH)
    except OSError:
        return Masks().open_null()
    try:
        status = os.fstat(fd)
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(*_NULL):
            return os.open(str(fd), os.O_RDWR | os.O_CLOEXEC, dir_fd=proc_fds)
    except OSError:  # mounted without devices
        pass
    finally:
        os.close(fd)
    return Masks().open_null()


class Masks:
    """A null device and an empty directory, to be put over paths (as clones) or opened."""

    def __init__(self) -> None:
        """Make them. Raises `OSError`."""
        attributes = mount.ATTR_NOSUID | mount.ATTR_NOEXEC
        self._root = mount.new_filesystem("tmpfs", (("mode", "0755"), ("size", "64k"), ("nr_inodes", "8")), attributes)
        os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(*_NULL), dir_fd=self._root)
        os.mkdir("empty", 0o755, dir_fd=self._root)
        mount.mount_setattr(self._root, mount.ATTR_RDONLY)

    def attach(self, place_fd: int) -> None:
        """Mount them at a place that no container sees, in a private namespace. Raises `OSError`.

        Before Linux 6.15 only what is mounted somewhere can be cloned (open_tree(2)).
        """
        mount.move_mount(self._root, place_fd)

    def open_null(self) -> int:
        """Open the null device; its inode cannot be changed through the descriptor."""
        fd = os.open("null", os.O_RDWR | os.O_CLOEXEC, dir_fd=self._root)
        _check_device(fd, _NULL, "null")
        return fd

    def clone_for(self, mode: int) -> int:
        """Return a detached mount to put over something with the file type of `mode`; `attach` comes before."""
        if stat.S_ISDIR(mode):
            return mount.clone_tree("empty", self._root)
        fd = mount.clone_tree("null", self._root)
        _check_device(fd, _NULL, "null")
        return fd

    def close(self) -> None:
        """Let go of the file system; clones keep it."""
        os.close(self._root)


def make_nodes(dev_fd: int) -> None:
    """Make the default devices in the directory `dev_fd`. Raises `StartError`."""
    for name, number in DEFAULT.items():
        _mknod(dev_fd, name, stat.S_IFCHR | 0o666, os.makedev(*number))


def make_node(root_fd: int, device: dict[str, Any]) -> None:
    """Make a device of ``linux.devices`` at its path. Raises `StartError`."""
    path = device["path"]
    try:
        kind = _TYPES[device["type"]]
        parent, _, name = path.rstrip("/").rpartition("/")
        directory = openat2.make_directory(root_fd, parent)
        try:
            mode = kind | int(device.get("fileMode", 0o666)) & 0o7777
            _mknod(directory, name, mode, os.makedev(int(device.get("major", 0)), int(device.get("minor", 0))))
            os.chown(
                name, int(device.get("uid", 0)), int(device.get("gid", 0)), dir_fd=directory, follow_symlinks=False
            )
        finally:
            os.close(directory)
    except OSError as error:
        raise StartError.from_os("devices", f"error creating device nodes: {path}", error) from error
    except KeyError as error:
        raise StartError("devices", f"{path} is not a device") from error


def make_links(dev_fd: int) -> None:
    """Make the links that programs expect in /dev; what is there already stays."""
    links = dict(_LINKS)
    if os.path.exists("/proc/kcore"):
        links["core"] = "/proc/kcore"
    for name, target in links.items():
        try:
            os.symlink(target, name, dir_fd=dev_fd)
        except FileExistsError:
            continue


def open_terminal(root_fd: int) -> Terminal:
    """Return a new terminal of the container's own devpts, checked to be nothing else. Raises `StartError`."""
    try:
        devpts = openat2.open_in_root(root_fd, "/dev/pts", os.O_PATH | os.O_DIRECTORY)
        try:
            if mount.filesystem_type(devpts) != DEVPTS_SUPER_MAGIC:
                raise StartError("terminal", "/dev/pts is not a devpts file system")
            master = pty.open_master(devpts)
        finally:
            os.close(devpts)
        _check_device(master, _PTMX, "ptmx")
        slave = pty.open_slave(master)
    except OSError as error:
        raise StartError.from_os("terminal", "unable to open a terminal", error) from error
    status = os.fstat(slave)
    if not stat.S_ISCHR(status.st_mode) or os.major(status.st_rdev) not in _PTY_SLAVES:
        raise StartError("terminal", "the terminal's other end is not a terminal")
    return Terminal(master, slave)


def _mknod(directory: int, name: str, mode: int, number: int) -> None:
    try:
        os.mknod(name, mode, number, dir_fd=directory)
    except FileExistsError:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_IFMT(found.st_mode) != stat.S_IFMT(mode) or found.st_rdev != number:
            raise


def _check_device(fd: int, number: tuple[int, int], name: str) -> None:
    status = os.fstat(fd)
    if not stat.S_ISCHR(status.st_mode) or (os.major(status.st_rdev), os.minor(status.st_rdev)) != number:
        raise StartError("devices", f"{name} is not the device {number[0]}:{number[1]}")
