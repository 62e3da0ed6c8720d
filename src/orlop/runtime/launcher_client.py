"""The launcher process, seen from the daemon: started, asked to fork shims, replaced when it dies.

The launcher ends when its socket is closed. A request to it has no answer: the shim that it forks answers on the
socket that went with the request, and that socket is closed unanswered if the launcher dies first.

One launcher at a time serves an exec root: that of a daemon which was killed may still have requests in its socket, and
would start containers that nobody waits for, behind the back of the daemon that follows. It is found by a file with
its pid and killed first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from orlop.errors import Unavailable
from orlop.formats.shim_wire import Message
from orlop.linux import descriptors, pidfd, proc
from orlop.runtime.connection import Connection
from orlop.runtime.leftovers import open_exact

__all__ = ["Launcher"]

_log = logging.getLogger(__name__)
_END_TIMEOUT = 5.0  # seconds from closing its socket until it is killed
_PID_FILE = "launcher.pid"
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ")


class Launcher:
    """One launcher process. Made by `start`."""

    def __init__(self, process: subprocess.Popen[bytes], sock: socket.socket) -> None:
        self._process = process
        self._connection = Connection(sock, self._message, self._lost)
        self.died: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(cls, exec_root: Path, command: Sequence[str] = ()) -> Launcher:
        """Start the launcher's process, the only one of `exec_root`.

        Raises `errors.Unavailable` when that is not possible.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            process = await asyncio.to_thread(_replace, exec_root / _PID_FILE, theirs.fileno(), command)
        except OSError as error:
            ours.close()
            raise Unavailable(f"the launcher cannot be started: {error}") from error
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(process, ours)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return not self.died.done()

    def send_frame(self, frame: bytes, fds: Sequence[int]) -> None:
        """Send an encoded ``start`` message; `fds` are only borrowed. Raises `ConnectionLost`."""
        self._connection.send_frame(frame, fds)

    async def close(self) -> None:
        """End the process; the shims that it forked stay."""
        self._connection.close()
        self._lost()
        await asyncio.to_thread(self._reap, _END_TIMEOUT)

    async def status(self) -> str:
        """Say how a launcher ended that died."""
        await asyncio.to_thread(self._reap, _END_TIMEOUT)
        self._lost()
        code = self._process.returncode
        return f"killed by signal {-code}" if code < 0 else f"exit status {code}"

    def _reap(self, timeout: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
            return
        self._process.kill()
        self._process.wait()

    def _message(self, message: Message, fds: list[int]) -> None:
        descriptors.close_all(fds)
        if message["type"] == "refused":
            _log.error("the launcher refused a start: %s", message.get("message"))

    def _lost(self) -> None:
        if not self.died.done():
            self.died.set_result(None)


def _replace(pid_file: Path, fd: int, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Kill the launcher that `pid_file` names, if it lives, and start another."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        pid, ticks, boot_id = pid_file.read_text().split()
        if boot_id == proc.boot_id():
            _kill_exact(int(pid), int(ticks))
    process = _spawn(fd, command)
    with contextlib.suppress(FileNotFoundError):  # it has ended already, as its socket tells
        pid_file.write_text(f"{process.pid} {proc.start_ticks(process.pid)} {proc.boot_id()}\n")
    return process


def _kill_exact(pid: int, start_ticks: int) -> None:
    descriptor = open_exact(pid, start_ticks)
    if descriptor is None:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            pidfd.send_signal(descriptor, signal.SIGKILL)
        death = select.poll()
        death.register(descriptor, select.POLLIN)
        if not death.poll(_END_TIMEOUT * 1000):
            raise OSError(f"the launcher of an earlier daemon, process {pid}, does not end")
    finally:
        os.close(descriptor)


def _spawn(fd: int, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Execute the launcher in a process group of its own: a Ctrl-C for the daemon is not for containers."""
    words = list(command) or [sys.executable, "-I", "-m", "orlop.shim.launcher"]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return subprocess.Popen(
        [*words, str(fd)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(fd,),
        env=environment,
        cwd="/",
        start_new_session=True,
    )
