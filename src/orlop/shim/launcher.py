"""The launcher: ``python -I -m orlop.shim.launcher FD``, warm, small and single-threaded, so that it can fork shims.

FD is its end of a stream socket to orlopd, on which ``start`` messages come; at the end of file it ends, and the shims
go on without it. At its own start it executes itself once more through a read-only clone of its interpreter's mount:
what a container could reach of it by ``/proc/<pid>/exe`` cannot be opened for writing, also when the last process of
it has ended (CVE-2019-5736).

A start is asked for by the container's id and is done once: a shim that already runs (it holds the lock of the run
directory, whoever forked it) is given the asker's socket and tells it where things stand.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from typing import NoReturn

from orlop.formats.shim_wire import Decoder, Message, WireError, encode
from orlop.linux import descriptors, mount, process
from orlop.shim import request
from orlop.shim.channel import Channel
from orlop.shim.container import Container
from orlop.shim.failure import StartError, create_message
from orlop.shim.loop import Loop
from orlop.shim.request import StartRequest
from orlop.shim.state import RunDirectory

__all__ = ["main"]

_SEALED = "--sealed"
_LOCK_SECONDS = 10.0  # for a shim of the same container that is just ending
_LOCK_PAUSE = 0.002
_ERROR_FILE = "shim-error.txt"


def main() -> None:
    """Run the launcher; its arguments are ``FD`` and, the second time, ``--sealed``."""
    fd = int(sys.argv[1])
    if _SEALED not in sys.argv:
        _execute_read_only(fd)
    if not os.statvfs("/proc/self/exe").f_flag & os.ST_RDONLY:
        raise SystemExit("the launcher's interpreter is not on a read-only mount")
    os.set_inheritable(fd, False)
    # Ended shims are reaped by the kernel: nobody here waits for them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process.set_name("orlop-launcher")
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


class Launcher:
    """Forks a shim for every ``start``."""

    def __init__(self, sock: socket.socket) -> None:
        self._loop = Loop()
        self._sock = sock
        self._channel = Channel(self._loop, sock, self._message, lambda _: self._loop.stop())

    def run(self) -> None:
        """Serve until orlopd goes."""
        self._loop.run()

    def _message(self, _: Channel, message: Message, fds: list[int]) -> None:
        try:
            if message["type"] == "start":
                self._fork(request.parse(message, fds))
        except WireError as error:
            self._channel.send({"type": "refused", "message": str(error)})
        finally:
            descriptors.close_all(fds)

    def _fork(self, start: StartRequest) -> None:
        if os.fork():
            return
        # In the shim: nothing of the launcher is used any more, and nothing returns to it.
        try:
            descriptors.close_all_but((0, 1, 2, start.ctl, *(fd for _, fd in start.attaches), *start.ports))
            _become_shim(start)
        except BaseException as error:  # noqa: BLE001
            _report(start, error)
        finally:
            os._exit(0)


def _become_shim(start: StartRequest) -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    process.set_name("orlop-shim")
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.close(null)
    run_dir = RunDirectory(start.run_dir)
    if run_dir.lock() or _meet_other_shim(start, run_dir):
        Container(start, run_dir).run()


def _meet_other_shim(start: StartRequest, run_dir: RunDirectory) -> bool:
    """Give the asker to the shim that holds the lock; True if that ended meanwhile and the lock is ours."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while time.monotonic() < deadline:
        try:
            _hand_over(start.ctl, run_dir.socket_path)
            return False
        except (FileNotFoundError, ConnectionError):
            time.sleep(_LOCK_PAUSE)
        if run_dir.lock():
            return True
    raise StartError("shim", f"another shim of container {start.id} does not end")


def _hand_over(ctl: int, path: str) -> None:
    """Give `ctl` to the shim at `path`, and wait until it has it. Raises `OSError`."""
    decoder = Decoder()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_LOCK_SECONDS)
        sock.connect(path)
        descriptors.send(sock, encode({"type": "ctl", "seq": 0}, 1), [ctl])
        while True:
            data, fds = descriptors.recv(sock, 65536)
            if not data:
                raise ConnectionResetError("the other shim has ended")
            messages = decoder.feed(data, fds)
            if any(message["type"] == "answer" for message, _ in messages):
                return


def _report(start: StartRequest, error: BaseException) -> None:
    """Tell of a failure that the container's own code did not handle: the asker must have an answer.

    With this process the container ends, too. What happened stays in the run directory.
    """
    failure = error if isinstance(error, StartError) else StartError("shim", f"{type(error).__name__}: {error}")
    message = {"type": "failed", **failure.fields(), "message": create_message(failure)}
    if not isinstance(error, StartError):
        import traceback

        with open(f"{start.run_dir}/{_ERROR_FILE}", "w", encoding="utf-8") as file:
            traceback.print_exception(error, file=file)
    with socket.socket(fileno=start.ctl) as sock:
        sock.setblocking(True)
        sock.sendall(encode(message))


if __name__ == "__main__":
    main()
