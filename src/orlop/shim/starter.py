"""The starter: makes one container, hands it to the resident shim and ends; or undoes everything and says why.

The best order of a start: the first process begins at once (its network namespace first); meanwhile the cgroup is made
and joined, and the socket and the journal are opened. The network is connected by orlopd at the same time, and the
first process waits for both as late as it can.
"""

from __future__ import annotations

import base64
import os
import select
import signal
import socket
import time
from contextlib import suppress
from typing import Any, NoReturn

from orlop.formats.shim_wire import VERSION, Decoder, Message, WireError, encode
from orlop.linux import descriptors, proc, process, pty
from orlop.shim import handover, init, log, namespaces, request, sync
from orlop.shim.cgroup import ContainerCgroup
from orlop.shim.channel import Channel
from orlop.shim.exec import make_pipes
from orlop.shim.failure import StartError, create_message
from orlop.shim.loop import READ, Loop
from orlop.shim.request import StartRequest
from orlop.shim.server import Refused, Server
from orlop.shim.state import RunDirectory

__all__ = ["run"]

_READ_SIZE = 256 << 10
_ESRCH = 3
_LOCK_SECONDS = 10.0  # for a shim of the same container that is just ending
_LOCK_PAUSE = 0.002

Ours = tuple[int | None, int, int]
Theirs = tuple[int, int, int]


def run(requests: socket.socket, resident: socket.socket) -> NoReturn:
    """Wait for a request, in a child of the resident shim, and do it."""
    start = None
    try:
        descriptors.close_all_but((0, 1, 2, requests.fileno(), resident.fileno()))
        process.set_death_signal(signal.SIGKILL)
        start = _receive(requests)
        requests.close()
        if start is not None:
            run_dir = RunDirectory(start.run_dir)
            if run_dir.lock() or _meet_other_shim(start, run_dir):
                Starter(start, run_dir, resident).run()
    except BaseException as error:  # noqa: BLE001
        if start is not None:
            _report(start, error)
    finally:
        os._exit(0)


def _receive(requests: socket.socket) -> StartRequest | None:
    """Return the request; None when the launcher has gone without one."""
    decoder = Decoder()
    while True:
        data, fds = descriptors.recv(requests, _READ_SIZE)
        if not data:
            return None
        for message, message_fds in decoder.feed(data, fds):
            if message["type"] != "start":
                raise WireError(f"not a start: {message['type']}")
            return request.parse(message, message_fds)


def _meet_other_shim(start: StartRequest, run_dir: RunDirectory) -> bool:
    """Give the asker to the shim that holds the lock; True if that ended meanwhile and the lock is ours."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while time.monotonic() < deadline:
        try:
            _give_asker(start.ctl, run_dir.socket_path)
            return False
        except (FileNotFoundError, ConnectionError):
            time.sleep(_LOCK_PAUSE)
        if run_dir.lock():
            return True
    raise StartError("shim", f"another shim of container {start.id} does not end")


def _give_asker(ctl: int, path: str) -> None:
    """Give `ctl` to the shim at `path`, and wait until it has it. Raises `OSError`."""
    decoder = Decoder()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_LOCK_SECONDS)
        sock.connect(path)
        descriptors.send(sock, encode({"type": "ctl", "seq": 0}, 1), [ctl])
        while True:
            data, fds = descriptors.recv(sock, _READ_SIZE)
            if not data:
                raise ConnectionResetError("the other shim has ended")
            if any(message["type"] == "answer" for message, _ in decoder.feed(data, fds)):
                return


def _report(start: StartRequest, error: BaseException) -> None:
    """Tell of a failure that nobody handled: the asker must have an answer. A mistake of ours is kept on disk."""
    failure = error if isinstance(error, StartError) else StartError("shim", f"{type(error).__name__}: {error}")
    if not isinstance(error, StartError):
        RunDirectory(start.run_dir).write_error(error)
    message = {"type": "failed", **failure.fields(), "message": create_message(failure)}
    with socket.socket(fileno=start.ctl) as sock:
        sock.setblocking(True)
        sock.sendall(encode(message))


class Starter:
    """One start. `run` returns when the container has been handed over, or when nothing of it is left."""

    def __init__(self, start: StartRequest, run_dir: RunDirectory, resident: socket.socket) -> None:
        self._start = start
        self._run_dir = run_dir
        self._resident = resident
        self._shim_pid = os.getppid()
        self._loop = Loop()
        self._server = Server(self._loop, self._request, self._greet, self._peer_lost)
        self._cgroup: ContainerCgroup | None = None
        self._sync: socket.socket | None = None
        self._netns = -1  # while orlopd has not connected it
        self._network_wanted = start.network
        self._executing = False
        self._failure: StartError | None = None
        self._pid = 0
        self._pidfd = -1
        self._start_ticks = 0
        self._outputs: list[tuple[str, int]] = []
        self._streams_given = False
        self._done = False
        self._ctl = self._server.add(socket.socket(fileno=start.ctl))

    def run(self) -> None:
        """Start the container. Every failure is told."""
        try:
            self._begin()
        except StartError as error:
            self._fail(error)
        except OSError as error:
            self._from_init()  # it may have ended, and be reaped by now, and have said why
            self._fail(StartError.from_os("shim", "unable to start the shim", error))
        if not self._done:
            self._loop.run()

    def _begin(self) -> None:
        start = self._start
        linux = start.spec.get("linux") or {}
        self._resident.sendall(handover.ACTIVE if start.attaches else handover.DORMANT)
        self._run_dir.forget()
        spaces = namespaces.plan(linux)
        ours, theirs = self._make_streams()
        namespaces.enter_pid(spaces)
        self._sync, child_sync = sync.pair()
        self._pid = process.fork_sibling()
        if self._pid == 0:
            self._sync.close()
            init.start(child_sync, self._bundle(spaces, theirs))
        child_sync.close()
        self._sync.setblocking(False)
        self._loop.add(self._sync.fileno(), READ, lambda _: self._from_init())
        self._pidfd = os.pidfd_open(self._pid)
        self._start_ticks = proc.start_ticks(self._pid)  # before it may run: its parent reaps it when it ends
        self._cgroup = ContainerCgroup(linux.get("cgroupsPath") or "")
        self._cgroup.create(linux.get("resources") or {})
        self._from_init()  # the network namespace is there by now, and orlopd has most to do
        if self._done:
            return
        self._tell_init("go")
        self._give_streams(ours, theirs)  # nothing is heard between: a program that runs comes after its streams
        self._server.listen(self._run_dir.socket_path)
        self._write_state(0)

    def _make_streams(self) -> tuple[Ours | None, Theirs | None]:
        """Return our and the program's ends of the streams: of a terminal none yet, of given ones the program's."""
        start = self._start
        if start.outputs:
            return None, (-1, start.outputs[0], start.outputs[1])
        return (None, None) if start.tty else make_pipes(stdin=start.stdin)

    def _bundle(self, spaces: namespaces.NamespacePlan, pipes: Theirs | None) -> init.Bundle:
        start = self._start
        return init.Bundle(
            id=start.id,
            spec=start.spec,
            layers=start.layers,
            run_dir=start.run_dir,
            spaces=spaces,
            network=start.network,
            mounts=start.mounts,
            streams=pipes,
            seccomp=start.seccomp,
        )

    def _give_streams(self, ours: Ours | None, theirs: Theirs | None) -> None:
        """Let the resident have the streams; it may have to be ready for them before the program runs."""
        start = self._start
        if start.log_directory:
            try:
                log.prepare(start.log_directory)
            except OSError as error:
                raise StartError.from_os("log", "failed to initialize logging driver", error) from error
        fds = [("run_dir", self._run_dir.fd)]
        if theirs is not None:
            descriptors.close_all([fd for fd in theirs if fd >= 0])
        if ours is not None:
            self._outputs = [("stdout", ours[1]), ("stderr", ours[2])]
            fds += self._outputs
            if ours[0] is not None:
                fds.append(("stdin", ours[0]))
        fds += [("client", fd) for _, fd in start.attaches]
        handover.send(
            self._resident,
            "streams",
            fds,
            tty=start.tty,
            stdin=start.stdin,
            stdin_once=start.stdin_once,
            log=[start.log_directory, start.log_max_bytes, start.log_max_files],
            attaches=[attach.fields for attach, _ in start.attaches],
        )
        self._streams_given = True
        if start.tty and self._outputs:  # it was there first
            handover.send(self._resident, "terminal", self._outputs)

    def _from_init(self) -> None:
        """Hear what the first process has to say, all of it."""
        while self._sync is not None:
            try:
                message, fds = sync.receive(self._sync)
            except BlockingIOError:
                return
            self._init_says(message, fds)

    def _init_says(self, message: dict[str, Any] | None, fds: list[int]) -> None:
        if message is None:
            self._close_sync()
            if self._executing and self._failure is None:
                self._started()
            else:
                self._fail(self._failure or StartError("internal", "the first process died before it was started"))
            return
        match message["type"]:
            case "netns":
                self._netns = fds[0]
                self._ctl.send({"type": "netns"}, (self._netns,))
            case "terminal":
                if any(self._start.size):
                    pty.set_size(fds[0], *self._start.size)
                self._outputs = [("terminal", fds[0])]
                if self._streams_given:
                    handover.send(self._resident, "terminal", self._outputs)
            case "executing":
                self._executing = True
            case "failed":
                self._failure = StartError.from_fields(message)

    def _started(self) -> None:
        """The program runs: say so, and give everything to the resident."""
        started_at = time.time_ns()
        message = {"type": "started", "pid": self._pid, "start_ticks": self._start_ticks, "time": started_at}
        self._server.broadcast(message)
        if self._done:  # nobody was there to hear it
            return
        assert self._cgroup is not None
        watch = self._cgroup.watch_oom()
        listener, channels = self._server.release()
        fds = [("pidfd", self._pidfd)]
        watched = [self._pidfd, *(fd for _, fd in self._outputs)]
        if listener is not None:
            fds.append(("listener", listener))
            watched.append(listener)
        if watch is not None:
            fds.append(("oom", watch.descriptor))
            watched.append(watch.descriptor)
        for sock, _, abandoned in channels:
            fds += [("peer", sock), *(("rest", fd) for fd in abandoned)]
            watched.append(sock)
        fds += [("port", fd) for fd in self._start.ports]
        spaces = namespaces.plan(self._start.spec.get("linux") or {})
        with suppress(OSError):  # a full disk: the program runs, and its resident tells who asks
            self._write_state(started_at)  # before the resident may end it: then the file is another start's
        handover.send(
            self._resident,
            "running",
            fds,
            id=self._start.id,
            pid=self._pid,
            start_ticks=self._start_ticks,
            started_at=started_at,
            cgroup=self._cgroup.path,
            own_pid_namespace="pid" in spaces.new,
            tied=self._start.tied,
            oom=[watch.events, watch.rearm] if watch is not None else None,
            rests=[base64.b64encode(rest).decode() for _, rest, _ in channels],
        )
        if not self._start.attaches:
            handover.send_watched(self._resident, watched)
        self._finish()

    def _tell_init(self, kind: str, **fields: Any) -> None:
        if self._sync is None:
            return
        try:
            sync.send(self._sync, kind, **fields)
        except OSError:  # it has ended; the end of file on this socket tells
            return

    def _close_sync(self) -> None:
        if self._sync is not None:
            self._loop.remove(self._sync.fileno())
            self._sync.close()
            self._sync = None

    def _fail(self, error: StartError) -> None:
        """Give up: kill what there is, wait until it is dead, remove every trace, and then tell."""
        if self._done:
            return
        failure = self._failure or error
        self._close_sync()
        if self._pidfd >= 0:
            _kill(self._pidfd)
        self._run_dir.forget()
        if self._cgroup is not None:
            self._cgroup.remove()
        message = {"type": "failed", "message": create_message(failure)}
        for name in ("stage", "errno", "exit_code"):
            message[name] = failure.fields()[name]
        self._server.broadcast(message)
        self._server.release()  # which sees to it that the message is sent
        self._finish()

    def _finish(self) -> None:
        self._done = True
        self._loop.stop()

    def _greet(self, channel: Channel) -> None:
        channel.send(
            {
                "type": "hello",
                "version": VERSION,
                "id": self._start.id,
                "pid": 0,
                "shim_pid": self._shim_pid,
                "exec_ids": [],
            }
        )
        if self._netns >= 0:
            channel.send({"type": "netns"}, (self._netns,))

    def _peer_lost(self, channel: Channel) -> None:
        if channel is self._ctl and (self._network_wanted or self._start.tied):
            self._fail(StartError("network", "the daemon has gone before the network was connected", plain=True))

    def _request(self, _: Channel, message: Message, fds: list[int]) -> dict[str, Any] | None:
        match message["type"]:
            case "network":
                self._network_wanted = False
                os.close(self._netns)
                self._netns = -1
                self._tell_init("network", **{name: value for name, value in message.items() if name != "type"})
                return None
            case "abort":
                self._fail(StartError("network", "the start was given up", plain=True))
                return None
            case "ctl" if fds:
                self._ctl = self._server.add(socket.socket(fileno=fds.pop(0)))
                return {}
        raise Refused("the container is not running yet", errno=_ESRCH)

    def _write_state(self, started_at: int) -> None:
        if self._start.tied:  # nobody will take it back
            return
        self._run_dir.write_state(
            {
                "id": self._start.id,
                "version": VERSION,
                "shim_pid": self._shim_pid,
                "shim_start_ticks": proc.start_ticks(self._shim_pid),
                "pid": self._pid,
                "start_ticks": self._start_ticks,
                "started_at": started_at,
                "execs": [],
            }
        )


def _kill(pidfd: int) -> None:
    """Kill a process that is not our child, and wait until it has ended."""
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
