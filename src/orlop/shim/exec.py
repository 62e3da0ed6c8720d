"""A further process in a running container (``docker exec``).

The child is forked from the shim, hence it is born in the container's pid namespace; it joins the cgroup and then the
other namespaces, by a pidfd of the container's first process. It is reaped as soon as it ends: a zombie of ours would
keep the kernel from ending the pid namespace.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from orlop.linux import descriptors, namespace
from orlop.linux.cgroup import open_cgroup
from orlop.shim import child, devices, identity, sync
from orlop.shim.failure import CANNOT_EXECUTE, StartError
from orlop.shim.loop import READ, Loop
from orlop.shim.rootfs import open_working_directory
from orlop.shim.stdio import Streams
from orlop.shim.sync import ChildSide

__all__ = ["Exec", "ExecRequest", "make_pipes"]

_JOINED = (
    namespace.CLONE_NEWNS
    | namespace.CLONE_NEWNET
    | namespace.CLONE_NEWIPC
    | namespace.CLONE_NEWUTS
    | namespace.CLONE_NEWCGROUP
)


class ExecRequest(NamedTuple):
    """What is to be started: an OCI process, and where."""

    id: str
    process: dict[str, Any]
    tty: bool
    stdin: bool
    size: tuple[int, int]
    seccomp: bytes | None
    init_pidfd: int
    cgroup: str


class Exec:
    """The shim's view of it. `on_outcome` is called once: with None after the exec, or with what stopped it."""

    def __init__(
        self, loop: Loop, request: ExecRequest, streams: Streams, on_outcome: Callable[[Exec, StartError | None], None]
    ) -> None:
        """Fork the child. Raises `OSError`."""
        self.id = request.id
        self.streams = streams
        self.started = False
        self.status: int | None = None  # of wait(2), once it was reaped
        self._loop = loop
        self._size = request.size
        self._stdin = request.stdin
        self._on_outcome = on_outcome
        self._executing = False
        self._failure: StartError | None = None
        ours, theirs = (None, None) if request.tty else make_pipes(stdin=request.stdin)
        self._sync, child_sync = sync.pair()
        self.pid = os.fork()
        if self.pid == 0:
            self._sync.close()
            start(child_sync, request, theirs)
        child_sync.close()
        if ours is not None and theirs is not None:
            descriptors.close_all([fd for fd in theirs if fd >= 0])
            streams.open_pipes(*ours)
        self._sync.setblocking(False)
        loop.add(self._sync.fileno(), READ, self._from_child)

    def reaped(self, status: int) -> None:
        """The process has ended with `status` (wait(2))."""
        self.status = status
        self._from_child(0)  # it may have executed and ended before we looked

    def _from_child(self, _: int) -> None:
        while self._sync.fileno() >= 0:
            try:
                message, fds = sync.receive(self._sync)
            except BlockingIOError:
                return
            self._heard(message, fds)

    def _heard(self, message: dict[str, Any] | None, fds: list[int]) -> None:
        if message is None:
            self._loop.remove(self._sync.fileno())
            self._sync.close()
            self._settle()
        elif message["type"] == "terminal":
            self.streams.open_terminal(fds[0], stdin=self._stdin)
            if any(self._size):
                self.streams.resize(*self._size)
        elif message["type"] == "executing":
            self._executing = True
        elif message["type"] == "failed":
            self._failure = StartError.from_fields(message)

    def _settle(self) -> None:
        if self._failure is None and not self._executing:
            self._failure = StartError("internal", "the process died before it was started")
        self.started = self._failure is None
        self._on_outcome(self, self._failure)


def make_pipes(*, stdin: bool) -> tuple[tuple[int | None, int, int], tuple[int, int, int]]:
    """Return our and the process's ends of its standard streams; without stdin its end is -1."""
    stdin_read, stdin_write = os.pipe2(os.O_CLOEXEC) if stdin else (-1, None)
    stdout_read, stdout_write = os.pipe2(os.O_CLOEXEC)
    stderr_read, stderr_write = os.pipe2(os.O_CLOEXEC)
    return (stdin_write, stdout_read, stderr_read), (stdin_read, stdout_write, stderr_write)


def start(sock: socket.socket, request: ExecRequest, pipes: tuple[int, int, int] | None) -> NoReturn:
    """Run in the forked child: go into the container and become the program."""
    side = ChildSide(sock)
    child.run_steps(side, lambda: _steps(side, request, pipes))


def _steps(side: ChildSide, request: ExecRequest, pipes: tuple[int, int, int] | None) -> NoReturn:
    settings = request.process
    proc_fd, proc_fds = child.open_proc()
    if "oomScoreAdj" in settings:
        identity.set_oom_score(int(settings["oomScoreAdj"] or 0), proc_fd)
    identity.set_limits(settings.get("rlimits") or [])
    label = child.open_apparmor(proc_fd, settings)
    try:
        if request.cgroup:
            open_cgroup(request.cgroup).join(0)
        namespace.setns(request.init_pidfd, _JOINED)
    except OSError as error:
        raise StartError.from_os("namespaces", "unable to join the container", error) from error
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        who = identity.look_up(settings.get("user") or {}, root_fd, proc_fds)
    except StartError as error:
        error.exit_code = CANNOT_EXECUTE  # what dockerd gives for everything that keeps it from calling a runtime
        raise
    if pipes is None:
        terminal = devices.open_terminal(root_fd)
        side.send("terminal", (terminal.master,))
        streams = (terminal.slave,) * 3
    else:
        streams = (devices.open_null(root_fd, proc_fds) if pipes[0] < 0 else pipes[0]), pipes[1], pipes[2]
    os.umask(0o022)
    open_working_directory(root_fd, settings.get("cwd") or "/", make=False)
    child.take_streams(streams, who, terminal=pipes is None)
    child.become_program(side, settings, who, request.seccomp, label)
