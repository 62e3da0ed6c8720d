"""Mounts, by descriptor: the mount API of Linux 5.2 and later, and mount(2) where an older way is needed.

A mount is made *detached* (`open_tree` clones one, `new_filesystem` makes one), given its attributes while nobody can
see it, and then attached to a directory descriptor by `move_mount`; so no path is ever resolved twice.

Overlays: from Linux 6.7 on a layer is one ``lowerdir+`` option (500 at most). Before, all names have to fit into one
page of mount(2): the layers are opened and named by their descriptors, with ``/proc/self/fd`` as working directory,
which is enough for about 490.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from orlop.linux import descriptors, namespace
from orlop.linux.syscall import AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, call, function

__all__ = [
    "ATTR_NOATIME",
    "ATTR_NODEV",
    "ATTR_NODIRATIME",
    "ATTR_NOEXEC",
    "ATTR_NOSUID",
    "ATTR_NOSYMFOLLOW",
    "ATTR_RDONLY",
    "ATTR_STRICTATIME",
    "ATTR_TIME",
    "MNT_DETACH",
    "MS_BIND",
    "MS_DIRSYNC",
    "MS_MANDLOCK",
    "MS_NOATIME",
    "MS_NODEV",
    "MS_NODIRATIME",
    "MS_NOEXEC",
    "MS_NOSUID",
    "MS_PRIVATE",
    "MS_RDONLY",
    "MS_REC",
    "MS_RELATIME",
    "MS_REMOUNT",
    "MS_SHARED",
    "MS_SLAVE",
    "MS_STRICTATIME",
    "MS_SYNCHRONOUS",
    "MS_UNBINDABLE",
    "clone_tree",
    "detached_overlay",
    "filesystem_type",
    "knows_many_layers",
    "mount",
    "mount_overlay",
    "mount_setattr",
    "move_mount",
    "new_filesystem",
    "open_tree",
    "pivot_root",
    "set_propagation",
    "umount2",
]

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_SYNCHRONOUS = 0x10
MS_REMOUNT = 0x20
MS_MANDLOCK = 0x40
MS_DIRSYNC = 0x80
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_REC = 0x4000
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24

MNT_DETACH = 0x2

ATTR_RDONLY = 0x1
ATTR_NOSUID = 0x2
ATTR_NODEV = 0x4
ATTR_NOEXEC = 0x8
ATTR_TIME = 0x70  # the field of the three below; relatime is 0
ATTR_NOATIME = 0x10
ATTR_STRICTATIME = 0x20
ATTR_NODIRATIME = 0x80
ATTR_NOSYMFOLLOW = 0x200000

_OPEN_TREE_CLONE = 0x1
_OPEN_TREE_CLOEXEC = 0x80000
_FSOPEN_CLOEXEC = 0x1
_FSMOUNT_CLOEXEC = 0x1
_SET_FLAG, _SET_STRING, _CMD_CREATE = 0, 1, 6
_MOVE_EMPTY_FROM = 0x4
_MOVE_EMPTY_TO = 0x40
_ATTR = struct.Struct("QQQQ")
_STATFS_SIZE = 256
_PAGE = 4096
_INVALID = 22

_mount = function("mount", ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_umount2 = function("umount2", ctypes.c_char_p, ctypes.c_int)
_fstatfs = function("fstatfs", ctypes.c_int, ctypes.c_char_p)


def mount(source: str | None, target: str, kind: str | None, flags: int = 0, data: bytes | None = None) -> None:
    """mount(2). Raises `OSError`."""
    _mount(_optional(source), os.fsencode(target), _optional(kind), flags, data)


def umount2(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2); by default the mount is detached at once and goes when its last user does. Raises `OSError`."""
    _umount2(os.fsencode(target), flags)


def set_propagation(target: str, flags: int) -> None:
    """Set the propagation of the mount at `target` (MS_PRIVATE, MS_SLAVE, MS_SHARED…), with MS_REC of all below."""
    mount(None, target, None, flags)


def pivot_root(new_root_fd: int) -> None:
    """Make the mount at `new_root_fd` the root of this mount namespace and drop the old one, all of it.

    The working directory is the new root then. Raises `OSError`.
    """
    os.fchdir(new_root_fd)
    call("pivot_root", b".", b".")
    # The old root now lies on top of the new one at "/", and "." is still the new root's directory below it.
    umount2(".")
    os.chdir("/")


def open_tree(path: str, directory: int = AT_FDCWD, *, flags: int = 0) -> int:
    """open_tree(2) without cloning: an O_PATH descriptor. Raises `OSError`."""
    return call("open_tree", directory, os.fsencode(path), _OPEN_TREE_CLOEXEC | flags)


def clone_tree(path: str, directory: int = AT_FDCWD, *, recursive: bool = False, flags: int = 0) -> int:
    """Return a detached bind mount of `path`; with an empty path, of what `directory` itself refers to.

    The clone is in the peer group of a shared original. Raises `OSError`.
    """
    flags |= _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    if recursive:
        flags |= AT_RECURSIVE
    if not path:
        flags |= AT_EMPTY_PATH
    return call("open_tree", directory, os.fsencode(path), flags)


def move_mount(mount_fd: int, target_fd: int) -> None:
    """Attach the detached mount `mount_fd` on top of what `target_fd` refers to. Raises `OSError`."""
    call("move_mount", mount_fd, b"", target_fd, b"", _MOVE_EMPTY_FROM | _MOVE_EMPTY_TO)


def mount_setattr(
    mount_fd: int, set_: int = 0, clear: int = 0, propagation: int = 0, *, recursive: bool = False
) -> None:
    """Set and clear attributes (``ATTR_…``) and the propagation of a mount, with `recursive` of all below it too.

    Either all mounts are changed or none. Raises `OSError` (mount_setattr(2)).
    """
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    call("mount_setattr", mount_fd, b"", flags, _ATTR.pack(set_, clear, propagation, 0), _ATTR.size)


def new_filesystem(
    kind: str, options: Iterable[tuple[str, str | None]] = (), attributes: int = 0, source: str | None = None
) -> int:
    """Return a detached mount of a new file system of type `kind`; its descriptor is a directory's, too.

    An option without a value is a flag. Raises `OSError` with what the kernel had to say as its text.
    """
    context = call("fsopen", kind.encode(), _FSOPEN_CLOEXEC)
    try:
        call("fsconfig", context, _SET_STRING, b"source", os.fsencode(source or kind), 0)
        for key, value in options:
            if value is None:
                call("fsconfig", context, _SET_FLAG, key.encode(), None, 0)
            else:
                call("fsconfig", context, _SET_STRING, key.encode(), os.fsencode(value), 0)
        call("fsconfig", context, _CMD_CREATE, None, None, 0)
        return call("fsmount", context, _FSMOUNT_CLOEXEC, attributes)
    except OSError as error:
        message = _kernel_message(context)
        if message:
            error.strerror = f"{error.strerror} ({message})"
        raise
    finally:
        os.close(context)


def detached_overlay(
    lower: Sequence[str], upper: str, work: str, options: Sequence[tuple[str, str | None]] = ()
) -> int:
    """Return a detached overlay mount: a directory descriptor for `openat2`, or for `move_mount`.

    `lower` is topmost first; without `upper` the mount is read-only. Raises `OSError`. On a kernel before 6.7 this
    forks for a moment, since only mount(2) takes many layers there and that needs a mount namespace.
    """
    try:
        return _by_mount_api(lower, upper, work, options)
    except OSError as error:
        if error.errno != _INVALID or knows_many_layers():
            raise
    return _through_a_child(lower, upper, work, options)


def mount_overlay(
    target: str, lower: Sequence[str], upper: str, work: str, options: Sequence[tuple[str, str | None]] = ()
) -> None:
    """Mount an overlay at `target` by mount(2), with the layers named by descriptor. Raises `OSError`.

    The working directory changes for the moment, so the process must have one thread only.
    """
    with ExitStack() as stack:
        here = os.open(".", os.O_PATH | os.O_CLOEXEC)
        stack.callback(os.close, here)

        def opened(path: str) -> str:
            fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            return str(fd)

        words = ["lowerdir=" + ":".join(opened(layer) for layer in lower)]
        if upper:
            words += [f"upperdir={opened(upper)}", f"workdir={opened(work)}"]
        words += [key if value is None else f"{key}={value}" for key, value in options]
        data = ",".join(words).encode()
        if len(data) >= _PAGE:
            raise OSError(_INVALID, f"{len(lower)} layers are too many for this kernel")
        os.chdir("/proc/self/fd")
        stack.callback(os.fchdir, here)
        mount("overlay", target, "overlay", 0, data)


def _by_mount_api(lower: Sequence[str], upper: str, work: str, options: Sequence[tuple[str, str | None]]) -> int:
    parameters: list[tuple[str, str | None]] = [("lowerdir+", layer) for layer in lower]
    if upper:
        parameters += [("upperdir", upper), ("workdir", work)]
    return new_filesystem("overlay", [*parameters, *options])


def knows_many_layers() -> bool:
    """Say whether `detached_overlay` takes layers one by one, as Linux does from 6.7 on."""
    release = os.uname().release.split(".")
    return (int(release[0]), int(release[1])) >= (6, 7)


def _through_a_child(lower: Sequence[str], upper: str, work: str, options: Sequence[tuple[str, str | None]]) -> int:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        pid = os.fork()
        if pid == 0:
            number = 0
            try:
                namespace.unshare(namespace.CLONE_NEWNS)
                set_propagation("/", MS_REC | MS_PRIVATE)
                mount_overlay("/proc", lower, upper, work, options)
                descriptors.send(theirs, b"ok", [clone_tree("/proc")])
            except OSError as error:
                number = error.errno or _INVALID
            finally:
                os._exit(min(number, 255))
        theirs.close()
        _, fds = descriptors.recv(ours, 16, 1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not fds:
        raise OSError(status, os.strerror(status), "overlay")
    return fds[0]


def filesystem_type(fd: int) -> int:
    """Return the magic number of the file system that `fd` (O_PATH too) is on: ``PROC_SUPER_MAGIC``… (statfs(2))."""
    buffer = ctypes.create_string_buffer(_STATFS_SIZE)
    _fstatfs(fd, buffer)
    number: int = struct.unpack_from("l", buffer.raw)[0]
    return number


def _kernel_message(context: int) -> str:
    """Return the last line of a file system context's log (``e overlay: …``)."""
    last = ""
    try:
        while True:
            last = os.read(context, _PAGE).decode(errors="replace").strip()
    except OSError:  # ENODATA: that was all
        return last


def _optional(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)
