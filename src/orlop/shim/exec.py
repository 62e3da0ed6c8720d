"""A further process in a running container (``docker exec``).

Two forks. The *entering* process is the shim's child in the host's pid namespace, where nothing of the container sees
it: it joins the other namespaces by a pidfd of the container's first process, looks up the user, opens the terminal,
closes whatever is the host's, and gives up the privileges. Only then the program's own process is forked, a child of
the shim too, and born in the container's pid namespace. So nobody inside, whatever he may trace, finds a process that
has more than he has himself (CVE-2016-9962 and what was left of it).

Both are reaped as soon as they end: a zombie of ours would keep the kernel from ending the pid namespace.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from orlop.linux import descriptors, namespace, process
from orlop.linux.cgroup import open_cgroup
from orlop.shim import child, devices, identity, sync
from orlop.shim.failure import CANNOT_EXECUTE, StartError
from orlop.shim.identity import Identity
from orlop.shim.loop import READ, Loop
from orlop.shim.rootfs import open_working_directory
from orlop.shim.stdio import Streams
from orlop.shim.sync import ChildSide

__all__ = ["Exec", "ExecRequest", "make_pipes"]

_JOINED = (
    namespace.CLONE_NEWPID
    | namespace.CLONE_NEWNS
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
        """Fork the entering process. Raises `OSError`."""
        self.id = request.id
        self.streams = streams
        self.pid = 0  # of the program's process, once there is one
        self.settled = False
        self.started = False
        self.status: int | None = None  # of wait(2), once it was reaped
        self._loop = loop
        self._size = request.size
        self._stdin = request.stdin
        self._tty = request.tty
        self._on_outcome = on_outcome
        self._executing = False
        self._failure: StartError | None = None
        ours, theirs = (None, None) if request.tty else make_pipes(stdin=request.stdin)
        self._sync, child_sync = sync.pair()
        self._entering = os.fork()
        if self._entering == 0:
            self._sync.close()
            start(child_sync, request, theirs)
        child_sync.close()
        if ours is not None and theirs is not None:
            descriptors.close_all([fd for fd in theirs if fd >= 0])
            streams.open_pipes(*ours)
        self._sync.setblocking(False)
        loop.add(self._sync.fileno(), READ, lambda _: self.hear())

    @property
    def last_pid(self) -> int:
        """The process with whose end it is over: the program's, or that which did not come so far."""
        return self.pid or self._entering

    def hear(self) -> None:
        """Hear what its processes have to say, all of it."""
        while not self.settled:
            try:
                message, fds = sync.receive(self._sync)
            except BlockingIOError:
                return
            except ValueError:  # somebody else got hold of the process, and speaks for it
                message, fds = None, []
            if message is None:
                self._settle()
            else:
                self._heard(message, fds)

    def _heard(self, message: dict[str, Any], fds: list[int]) -> None:
        match message:
            case {"type": "terminal"} if self._tty and not self.pid and len(fds) == 1:
                self._tty = False
                self.streams.open_terminal(fds[0], stdin=self._stdin)
                if any(self._size):
                    self.streams.resize(*self._size)
                return
            case {"type": "process", "pid": int(pid)} if not self.pid:
                self.pid = pid
            case {"type": "executing"}:
                self._executing = True
            case {"type": "failed"}:
                self._failure = StartError.from_fields(message)
        descriptors.close_all(fds)

    def _settle(self) -> None:
        self._loop.remove(self._sync.fileno())
        self._sync.close()
        if self._failure is None and not (self._executing and self.pid):
            self._failure = StartError("internal", "the process died before it was started")
        self.settled = True
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
        entrances = open_cgroup(request.cgroup).entrances() if request.cgroup else []
        namespace.setns(request.init_pidfd, _JOINED)
    except OSError as error:
        raise _cannot_join(error) from error
    root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        who = identity.look_up(settings.get("user") or {}, root_fd, proc_fds)
    except StartError as error:
        error.exit_code = CANNOT_EXECUTE  # what dockerd gives for everything that keeps it from calling a runtime
        raise
    streams = _open_streams(side, pipes, root_fd, proc_fds)
    os.umask(0o022)
    open_working_directory(root_fd, settings.get("cwd") or "/", make=False)
    child.take_streams(streams, who, terminal=pipes is None)
    if label >= 0:
        child.write_label(label, settings["apparmorProfile"])
    entrances = side.keep_only(child.SYNC, entrances)
    _become_program(side, settings, who, request.seccomp, lambda: _be_born(side, entrances, terminal=pipes is None))


def _open_streams(
    side: ChildSide, pipes: tuple[int, int, int] | None, root_fd: int, proc_fds: int
) -> tuple[int, int, int]:
    """Return the standard streams: the pipes, or a terminal whose master goes to the shim."""
    if pipes is None:
        terminal = devices.open_terminal(root_fd)
        side.send("terminal", (terminal.master,))
        return (terminal.slave,) * 3
    return (devices.open_null(root_fd, proc_fds) if pipes[0] < 0 else pipes[0]), pipes[1], pipes[2]


def _become_program(
    side: ChildSide, settings: dict[str, Any], who: Identity, seccomp: bytes | None, be_born: Callable[[], None]
) -> NoReturn:
    """Take on the identity, be born in the container, and execute the program, if the profile allows that order.

    A profile that forbids to fork is loaded behind the birth: right before the exec with no_new_privs, and else by a
    process that is privileged until then, which whoever is inside and may trace can see.
    """
    locked = bool(settings.get("noNewPrivileges"))
    capabilities = settings.get("capabilities")
    if locked:
        process.no_new_privileges()
    if seccomp is None or process.can_fork_under(seccomp):
        identity.become(who, capabilities, seccomp)
        be_born()
        child.execute(side, settings, who, None)
    if locked:
        identity.become(who, capabilities, None)
        be_born()
        child.execute(side, settings, who, seccomp)
    be_born()
    identity.become(who, capabilities, seccomp)
    child.execute(side, settings, who, None)


def _be_born(side: ChildSide, entrances: list[int], *, terminal: bool) -> None:
    """Go on as a child of the shim in the container's pid namespace and cgroup. Raises `StartError`."""
    try:
        pid = process.fork_sibling()
    except OSError as error:
        raise StartError.from_os("process", "unable to fork", error) from error
    if pid:
        side.write("process", pid=pid)
        os._exit(0)
    process.set_death_signal(signal.SIGKILL)
    os.setsid()
    try:
        for fd in entrances:
            os.write(fd, b"0")
            os.close(fd)
    except OSError as error:
        raise _cannot_join(error) from error
    if terminal:
        child.control_terminal()


def _cannot_join(error: OSError) -> StartError:
    return StartError.from_os("namespaces", "unable to join the container", error)
