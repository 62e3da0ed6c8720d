"""The launcher: ``python -I -m orlop.shim.launcher FD``, warm, small and single-threaded, so that it can fork shims.

FD is its end of a stream socket to orlopd, on which ``start`` messages come; at the end of file it ends, and the shims
go on without it. It looks into no message: a frame goes to a shim as it is, since whatever the launcher touches is
copied for every shim there is. One shim is always forked ahead.

At its own start it executes itself once more through a read-only clone of its interpreter's mount: what a container
could reach of it by ``/proc/<pid>/exe`` cannot be opened for writing, also when the last process of it has ended
(CVE-2019-5736).

A start is asked for by the container's id and is done once: a shim that already runs (it holds the lock of the run
directory, whoever forked it) is given the asker's socket and tells it where things stand.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
from typing import NoReturn

from orlop.formats.shim_wire import HEADER, MAX_DESCRIPTORS, MAX_PAYLOAD
from orlop.linux import cgroup, descriptors, mount, process
from orlop.shim import resident

__all__ = ["main"]

_SEALED = "--sealed"
_READ_SIZE = 256 << 10
_SPARE_MILLISECONDS = 20  # after a start, when it no longer competes with it


def main() -> None:
    """Run the launcher; its arguments are ``FD`` and, the second time, ``--sealed``."""
    fd = int(sys.argv[1])
    if _SEALED not in sys.argv:
        _execute_read_only(fd)
    if not os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY:
        raise SystemExit("the launcher's interpreter is not on a read-only mount")
    os.set_inheritable(fd, False)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    # What is set here the shims inherit, and need not touch memory for: signals, and the name.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.set_signal(number, signal.SIG_IGN)
    process.set_name("orlop-shim")
    _warm_up()
    gc.collect()
    gc.freeze()
    Launcher(socket.socket(fileno=fd)).run()


def _execute_read_only(fd: int) -> NoReturn:
    """Execute this program again, through a detached read-only clone of the interpreter's mount."""
    clone = mount.clone_tree(os.path.realpath(sys.executable))
    mount.mount_setattr(clone, mount.ATTR_RDONLY)
    os.set_inheritable(fd, True)
    words = [sys.executable, "-I", "-m", "orlop.shim.launcher", str(fd), _SEALED]
    os.execve(clone, words, dict(os.environ))


def _warm_up() -> None:
    """Find out now what every start would have to find out."""
    try:
        cgroup.detect()
    except FileNotFoundError:
        return


class Launcher:
    """Passes each frame to a shim that was forked ahead."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray()
        self._fds: list[int] = []
        self._spare: socket.socket | None = None
        self._children = process.block_to_descriptor(signal.SIGCHLD)

    def run(self) -> None:
        """Serve until orlopd goes."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._children, select.POLLIN)
        while True:
            ready = poll.poll(_SPARE_MILLISECONDS if self._spare is None else None)
            if not ready:
                self._spare = self._fork()
                continue
            if ready[0][0] == self._children:
                self._reap()
                continue
            data, fds = descriptors.recv(self._sock, _READ_SIZE)
            if not data:
                return
            self._buffer += data
            self._fds += fds
            while self._pass_on():
                pass

    def _reap(self) -> None:
        """Let go of shims that have ended."""
        os.read(self._children, 4096)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return

    def _pass_on(self) -> bool:
        """Give the first frame to a shim, if it is whole. Raises `SystemExit` for what can be no frame."""
        if len(self._buffer) < HEADER.size:
            return False
        size, count = HEADER.unpack_from(self._buffer)
        if size > MAX_PAYLOAD or count > MAX_DESCRIPTORS:
            raise SystemExit(f"a frame of {size} bytes and {count} descriptors")
        size += HEADER.size
        if len(self._buffer) < size or len(self._fds) < count:
            return False
        frame, fds = bytes(self._buffer[:size]), self._fds[:count]
        del self._buffer[:size]
        try:
            if self._spare is None or not _send(self._spare, frame, fds):
                _send(self._fork(), frame, fds)
        finally:
            self._spare = None
            descriptors.close_all(fds)
            del self._fds[:count]  # only now: a shim that is forked meanwhile has to close them
        return True

    def _fork(self) -> socket.socket:
        """Fork a shim that waits for a frame on the other end of the returned socket."""
        ours, theirs = socket.socketpair()
        pair = socket.socketpair()
        if os.fork() == 0:
            resident.run(theirs, *pair, [self._sock.fileno(), self._children, ours.fileno(), *self._fds])
        for sock in (theirs, *pair):
            sock.close()
        return ours


def _send(sock: socket.socket, frame: bytes, fds: list[int]) -> bool:
    """Send the frame to a shim; False if that has died meanwhile."""
    view, step = memoryview(frame), descriptors.MAX_PER_MESSAGE
    with sock:
        try:
            for start in range(0, len(fds), step):
                last = start + step >= len(fds)
                view = view[descriptors.send(sock, view if last else view[:1], fds[start : start + step]) :]
            if view:  # a shim that has everything may have closed its end already
                sock.sendall(view)
        except (BrokenPipeError, ConnectionResetError):
            return False
    return True


if __name__ == "__main__":
    main()
