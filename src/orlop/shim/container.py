"""The shim: one container from its start to its end.

Its life: *starting* (the first process is forked and makes the container, while the shim makes the cgroup and waits
for the network), *running* from the exec on, *ended* when the first process was reaped and its output read. A start
that fails undoes everything and then says so. The shim needs nobody: peers come and go, and how the container ended
is on the disk before anyone is told.

If the shim is killed, the kernel kills the first process and with it the whole pid namespace; what is left of a
container with the host's pid namespace is for orlopd to find by its cgroup.
"""

from __future__ import annotations

import errno as numbers
import os
import signal
import socket
import time
from typing import Any

from orlop.formats.shim_wire import VERSION, Message
from orlop.linux import descriptors, proc, process
from orlop.shim import init, namespaces, request, server, sync
from orlop.shim.cgroup import ContainerCgroup
from orlop.shim.channel import Channel
from orlop.shim.exec import Exec, ExecRequest, make_pipes
from orlop.shim.failure import StartError, create_message, exec_message
from orlop.shim.log import Journal
from orlop.shim.loop import READ, Loop
from orlop.shim.request import StartRequest
from orlop.shim.server import Refused, Server
from orlop.shim.state import RunDirectory
from orlop.shim.stdio import Streams

__all__ = ["Container"]

_DRAIN_SECONDS = 2.0  # for output that grandchildren may still write after the first process has ended
_STARTING, _RUNNING, _ENDED = range(3)


class Container:
    """The shim of `start`; `run` returns when everything is done."""

    def __init__(self, start: StartRequest, run_dir: RunDirectory) -> None:
        self._start = start
        self._run_dir = run_dir
        self._loop = Loop()
        self._server = Server(self._loop, self._request, self._greet, self._peer_lost)
        self._spaces = namespaces.plan(start.spec.get("linux") or {})
        self._cgroup = ContainerCgroup(self._loop, start.spec.get("linux") or {})
        self._phase = _STARTING
        self._log: Journal | None = None
        self._streams: Streams | None = None
        self._sync: socket.socket | None = None
        self._executing = False
        self._failure: StartError | None = None
        self._netns = -1  # while orlopd has not connected it
        self._network_wanted = start.network
        self._pid = 0
        self._pidfd = -1
        self._start_ticks = 0
        self._started_at = 0
        self._status: int | None = None  # of wait(2)
        self._execs: dict[str, Exec] = {}
        self._exec_requests: dict[str, tuple[Channel, Message]] = {}
        self._ctl = self._server.add(socket.socket(fileno=start.ctl))

    def run(self) -> None:
        """Start the container and serve it to its end."""
        process.set_subreaper()
        self._loop.on_signal(signal.SIGCHLD, self._reap)
        try:
            self._begin()
        except StartError as error:
            self._fail(error)
        except OSError as error:
            self._fail(StartError.from_os("shim", "unable to start the shim", error))
        if self._phase != _ENDED or self._busy:
            self._loop.run()

    # The start.

    def _begin(self) -> None:
        start = self._start
        self._run_dir.forget()
        ours, theirs = (None, None) if start.tty else make_pipes(stdin=start.stdin)
        namespaces.enter_pid(self._spaces)
        self._sync, child_sync = sync.pair()
        self._pid = os.fork()
        if self._pid == 0:
            self._sync.close()
            init.start(child_sync, self._bundle(theirs))
        child_sync.close()
        self._sync.setblocking(False)
        self._loop.add(self._sync.fileno(), READ, lambda _: self._from_init())
        self._cgroup.create()
        self._cgroup.join(self._pid)
        self._tell_init("go")
        self._open_streams(ours, theirs)
        self._server.listen(self._run_dir.socket_path)
        self._pidfd = os.pidfd_open(self._pid)
        self._start_ticks = proc.start_ticks(self._pid)
        self._write_state()

    def _bundle(self, pipes: tuple[int, int, int] | None) -> init.Bundle:
        start = self._start
        return init.Bundle(
            id=start.id,
            spec=start.spec,
            layers=start.layers,
            run_dir=start.run_dir,
            spaces=self._spaces,
            network=start.network,
            streams=pipes,
            seccomp=start.seccomp,
        )

    def _open_streams(self, ours: tuple[int | None, int, int] | None, theirs: tuple[int, int, int] | None) -> None:
        start = self._start
        if start.log_directory:
            self._log = Journal(start.log_directory, start.log_max_bytes, start.log_max_files)
        self._streams = self._make_streams(tty=start.tty, stdin_once=start.stdin_once, log=self._log)
        if ours is not None and theirs is not None:
            descriptors.close_all([fd for fd in theirs if fd >= 0])
            self._streams.open_pipes(*ours)
        for attach, fd in start.attaches:
            self._streams.attach(fd, attach)
            self._server.broadcast({"type": "attached", "attach_id": attach.id})

    def _make_streams(self, *, tty: bool, stdin_once: bool, log: Journal | None) -> Streams:
        def detached(attach_id: str) -> None:
            self._server.broadcast({"type": "detached", "attach_id": attach_id})

        return Streams(
            self._loop, tty=tty, stdin_once=stdin_once, log=log, on_detached=detached, on_idle=self._end_if_idle
        )

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
                assert self._streams is not None
                self._streams.open_terminal(fds[0], stdin=self._start.stdin)
                if any(self._start.size):
                    self._streams.resize(*self._start.size)
            case "executing":
                self._executing = True
            case "failed":
                self._failure = StartError.from_fields(message)

    def _started(self) -> None:
        self._phase = _RUNNING
        self._started_at = time.time_ns()
        self._server.broadcast(self._started_message())
        self._write_state()
        self._cgroup.watch_oom(lambda: self._server.broadcast({"type": "oom"}))
        self._start = self._start._replace(spec={}, seccomp=None, layers={})

    def _started_message(self) -> Message:
        return {
            "type": "started",
            "pid": self._pid,
            "start_ticks": self._start_ticks,
            "time": self._started_at,
        }

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
        """Give up the start: kill what there is; `_undo` when it is dead."""
        if self._phase != _STARTING:
            return
        self._failure = self._failure or error
        self._close_sync()
        if self._pid and self._status is None:
            os.kill(self._pid, signal.SIGKILL)
        else:
            self._undo()

    def _undo(self) -> None:
        """Nothing runs any more: remove every trace, then tell."""
        assert self._failure is not None
        self._phase = _ENDED
        if self._streams is not None:
            self._streams.abandon()
        else:
            descriptors.close_all([fd for _, fd in self._start.attaches])
        self._let_go()
        self._run_dir.forget()
        self._cgroup.remove()
        failure = self._failure
        self._server.broadcast(
            {
                "type": "failed",
                "stage": failure.stage,
                "errno": failure.errno,
                "message": create_message(failure),
                "exit_code": failure.exit_code,
            }
        )
        self._server.close()
        self._loop.stop()

    # The end.

    def _reap(self) -> None:
        """Reap every child that has ended: the first process, further ones, orphans that came to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._pid:
                self._init_ended(status)
                continue
            for process_ in list(self._execs.values()):
                if process_.pid == pid:
                    self._exec_ended(process_, status)

    def _init_ended(self, status: int) -> None:
        self._status = status
        self._from_init()  # it may have executed and ended before we looked
        if self._phase == _STARTING:
            self._undo()
            return
        if "pid" not in self._spaces.new:
            self._cgroup.kill()
        descriptors.close_all(self._start.ports)
        self._start = self._start._replace(ports=())
        assert self._streams is not None
        self._streams.end(self._output_read, _DRAIN_SECONDS)

    def _output_read(self) -> None:
        """The container is over: put down how, tell everyone, and let the next one begin."""
        self._phase = _ENDED
        for process_ in list(self._execs.values()):
            process_.streams.end_now()
        ending = self._ending()
        self._run_dir.write_exit(ending)
        self._server.broadcast({"type": "exited", **ending})
        self._run_dir.forget("state.json", "shim.sock")
        self._let_go()
        self._cgroup.remove()
        self._run_dir.unlock()
        self._server.close()
        self._end_if_idle()

    def _ending(self) -> dict[str, Any]:
        assert self._status is not None
        code = os.waitstatus_to_exitcode(self._status)
        return {
            "exit_code": code if code >= 0 else 128 - code,
            "signal": max(0, -code),
            "oom_killed": self._cgroup.oom_kills() > 0,
            "time": time.time_ns(),
            "error": "",
        }

    def _let_go(self) -> None:
        """Close what is held for a container that runs."""
        descriptors.close_all(self._start.ports)
        self._start = self._start._replace(ports=())
        self._forget_netns()
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    @property
    def _busy(self) -> bool:
        return self._streams is not None and self._streams.busy

    def _end_if_idle(self) -> None:
        if self._phase == _ENDED and not self._busy:
            self._loop.stop()

    # The peers.

    def _greet(self, channel: Channel) -> None:
        running = self._phase == _RUNNING
        channel.send(
            {
                "type": "hello",
                "version": VERSION,
                "id": self._start.id,
                "pid": self._pid if running else 0,
                "shim_pid": os.getpid(),
                "exec_ids": [process_.id for process_ in self._execs.values() if process_.started],
            }
        )
        if running:
            channel.send(self._started_message())
        elif self._netns >= 0:
            channel.send({"type": "netns"}, (self._netns,))

    def _peer_lost(self, channel: Channel) -> None:
        if channel is self._ctl and self._network_wanted:
            self._fail(StartError("network", "the daemon has gone before the network was connected", plain=True))

    def _request(self, channel: Channel, message: Message, fds: list[int]) -> dict[str, Any] | None:
        match message["type"]:
            case "network":
                self._network_wanted = False
                self._forget_netns()
                self._tell_init("network", **{name: value for name, value in message.items() if name != "type"})
                return None
            case "abort":
                self._fail(StartError("network", "the start was given up", plain=True))
                return None
            case "signal":
                return self._signal(message)
            case "resize":
                self._streams_of(message).resize(int(message["height"]), int(message["width"]))
                return {}
            case "attach":
                return self._attach(message, fds)
            case "exec":
                self._exec(channel, message, fds)
                return None
            case "reopen_log":
                if self._log is not None:
                    self._log.reopen()
                return {}
            case "ctl" if fds:
                self._take_over_peer(fds.pop(0))
                return {}
        raise Refused(f"unknown request {message['type']}", errno=numbers.ENOSYS)

    def _take_over_peer(self, fd: int) -> None:
        """A start was asked for again, of a launcher that does not know of us: its asker is one more peer."""
        self._ctl = self._server.add(socket.socket(fileno=fd))

    def _signal(self, message: Message) -> dict[str, Any]:
        """Signal a process that we have not reaped, so its number is still its own."""
        if message.get("exec_id"):
            process_ = self._find_exec(message)
            pid = process_.pid if process_.status is None else 0
        else:
            pid = self._pid if self._status is None else 0
        if not pid:
            raise Refused("process already finished", errno=numbers.ESRCH)
        os.kill(pid, int(message["signal"]))
        return {}

    def _attach(self, message: Message, fds: list[int]) -> dict[str, Any]:
        attach = request.attach_request(message)
        if not fds:
            raise Refused("an attach needs a socket", errno=numbers.EBADF)
        streams = self._streams_of(message)
        streams.attach(fds.pop(0), attach)
        self._server.broadcast({"type": "attached", "attach_id": attach.id})
        return {}

    def _streams_of(self, message: Message) -> Streams:
        if message.get("exec_id"):
            return self._find_exec(message).streams
        if self._streams is None or self._phase == _ENDED:
            raise Refused("the container is not running", errno=numbers.ESRCH)
        return self._streams

    def _find_exec(self, message: Message) -> Exec:
        process_ = self._execs.get(str(message["exec_id"]))
        if process_ is None:
            raise Refused(f"no exec {message['exec_id']}", errno=numbers.ESRCH)
        return process_

    # Further processes.

    def _exec(self, channel: Channel, message: Message, fds: list[int]) -> None:
        """Start a process; the answer comes when it has been executed."""
        if self._phase != _RUNNING or self._status is not None:
            raise Refused("the container is not running", errno=numbers.ESRCH)
        exec_id = str(message["exec_id"])
        if exec_id in self._execs:
            raise Refused(f"exec {exec_id} exists", errno=numbers.EEXIST)
        attach = message.get("attach")
        attach_to = request.attach_request(attach) if attach else None
        height, width = message.get("size") or (0, 0)
        wanted = ExecRequest(
            id=exec_id,
            process=message["process"],
            tty=bool(message.get("tty")),
            stdin=bool(message.get("stdin")),
            size=(int(height), int(width)),
            seccomp=request.seccomp_program(message),
            init_pidfd=self._pidfd,
            cgroup=self._cgroup.path,
        )
        streams = self._make_streams(tty=wanted.tty, stdin_once=bool(message.get("stdin_once", True)), log=None)
        self._exec_requests[exec_id] = channel, message
        self._execs[exec_id] = Exec(self._loop, wanted, streams, self._exec_settled)
        if attach_to is not None and fds:
            streams.attach(fds.pop(0), attach_to)

    def _exec_settled(self, process_: Exec, failure: StartError | None) -> None:
        channel, message = self._exec_requests.pop(process_.id)
        if failure is None:
            channel.send({"type": "answer", "seq": message["seq"], "ok": True, "pid": process_.pid})
            return
        text = exec_message(failure)
        process_.streams.say(text + "\r\n")
        server.refuse(channel, message, text, errno=failure.errno, exit_code=failure.exit_code)

    def _exec_ended(self, process_: Exec, status: int) -> None:
        process_.reaped(status)
        process_.streams.end(lambda: self._exec_over(process_), _DRAIN_SECONDS)

    def _exec_over(self, process_: Exec) -> None:
        del self._execs[process_.id]
        if not process_.started:
            return
        assert process_.status is not None
        code = os.waitstatus_to_exitcode(process_.status)
        self._server.broadcast(
            {
                "type": "exec_exited",
                "exec_id": process_.id,
                "exit_code": code if code >= 0 else 128 - code,
                "time": time.time_ns(),
            }
        )

    # What is written down.

    def _write_state(self) -> None:
        self._run_dir.write_state(
            {
                "id": self._start.id,
                "version": VERSION,
                "shim_pid": os.getpid(),
                "shim_start_ticks": proc.start_ticks(),
                "pid": self._pid,
                "start_ticks": self._start_ticks,
                "started_at": self._started_at,
                "execs": sorted(self._execs),
            }
        )

    def _forget_netns(self) -> None:
        if self._netns >= 0:
            os.close(self._netns)
            self._netns = -1
