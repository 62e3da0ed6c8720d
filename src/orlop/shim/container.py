"""The container while it runs, and its end: the resident shim once it is awake (`orlop.shim.resident`).

It is told by the starter how the streams are (``streams``), perhaps before the program runs, and then that it runs
(``running``). It needs nobody: peers come and go, and how the container ended is on the disk before anyone is told.

If the shim is killed, the kernel kills the first process and with it the whole pid namespace; what is left of a
container with the host's pid namespace is for orlopd to find by its cgroup. A *tied* container (a step of a build)
needs somebody: it is killed when the last peer has gone.
"""

from __future__ import annotations

import errno as numbers
import os
import signal
import socket
import time
from base64 import b64decode
from typing import Any

from orlop.formats.shim_wire import VERSION, Decoder, Message
from orlop.linux import descriptors, process
from orlop.linux.cgroup import OomWatch
from orlop.shim import handover, request, server
from orlop.shim.cgroup import ContainerCgroup
from orlop.shim.channel import Channel
from orlop.shim.exec import Exec, ExecRequest
from orlop.shim.failure import StartError, exec_message
from orlop.shim.log import Journal
from orlop.shim.loop import Loop
from orlop.shim.server import Refused, Server
from orlop.shim.state import RunDirectory
from orlop.shim.stdio import Streams

__all__ = ["Container"]

_DRAIN_SECONDS = 2.0  # for output that grandchildren may still write after the first process has ended


class Container:
    """One container. `run` returns when everything is done."""

    def __init__(self, starter: socket.socket | None, received: list[tuple[bytes, list[int]]] | None = None) -> None:
        """Take over what a starter will send, or what it has sent."""
        self._loop = Loop()
        self._server = Server(self._loop, self._request, self._greet, lambda _: self._end_if_untied())
        self._streams: Streams | None = None
        self._log: Journal | None = None
        self._running = False
        self._ended = False
        self._statuses: dict[int, int] = {}  # of children that were reaped before we knew who they are
        self._detached: list[str] = []  # clients that detached before there were peers to tell
        self._execs: dict[str, Exec] = {}
        self._exec_requests: dict[str, tuple[Channel, Message]] = {}
        self._stdin = False
        self._id = ""
        self._pid = 0
        self._pidfd = -1
        self._start_ticks = 0
        self._started_at = 0
        self._status: int | None = None  # of wait(2)
        self._own_pid_namespace = True
        self._tied = False
        self._ports: list[int] = []
        self._run_dir: RunDirectory | None = None
        self._cgroup = ContainerCgroup("")
        self._loop.on_signal(signal.SIGCHLD, self._reap)
        if starter is not None:
            Channel(
                self._loop, starter, lambda _, message, fds: self._told(message, fds), lambda _: self._starter_gone()
            )
        self._received = received or []

    def run(self) -> None:
        """Serve the container to its end."""
        try:
            self._catch_up()
            self._reap()
            if not self._ended or self._busy:
                self._loop.run()
        except BaseException as error:
            # A mistake of ours ends the container (we are its parent): what it was stays on disk.
            if self._run_dir is not None:
                self._run_dir.write_error(error)
            raise

    # What the starter tells.

    def _catch_up(self) -> None:
        """Hear what the starter said while we slept."""
        decoder = Decoder()
        for data, fds in self._received:
            for message, message_fds in decoder.feed(data, fds):
                self._told(message, message_fds)
        self._received = []

    def _told(self, message: Message, fds: list[int]) -> None:
        match message["type"]:
            case "streams":
                self._take_streams(message, fds)
            case "terminal":
                assert self._streams is not None
                self._streams.open_terminal(fds[0], stdin=self._stdin)
            case "running":
                self._take_over(message, fds)

    def _take_streams(self, message: Message, fds: list[int]) -> None:
        given = handover.named(message, fds)
        pipes = {name: fd for name, fd in given if name != "client"}
        self._run_dir = RunDirectory(pipes["run_dir"])
        directory, max_bytes, max_files = message["log"]
        if directory:
            try:
                self._log = Journal(directory, max_bytes, max_files)
            except OSError:  # the starter could open it; the container runs on without it
                self._log = None
        self._stdin = bool(message["stdin"])
        self._streams = self._make_streams(tty=message["tty"], stdin_once=message["stdin_once"], log=self._log)
        if "stdout" in pipes:
            self._streams.open_pipes(pipes.get("stdin"), pipes["stdout"], pipes["stderr"])
        clients = [fd for name, fd in given if name == "client"]
        for fields, fd in zip(message["attaches"], clients, strict=True):
            self._streams.attach(fd, request.attach_request(fields))

    def _take_over(self, message: Message, fds: list[int]) -> None:
        self._id = message["id"]
        self._pid = message["pid"]
        self._start_ticks = message["start_ticks"]
        self._started_at = message["started_at"]
        self._own_pid_namespace = message["own_pid_namespace"]
        self._tied = message["tied"]
        self._cgroup = ContainerCgroup(message["cgroup"])
        self._running = True
        if not self._own_pid_namespace:
            process.set_subreaper()
        rests = iter(message["rests"])
        peers: list[tuple[int, bytes, list[int]]] = []
        for name, fd in handover.named(message, fds):
            match name:
                case "pidfd":
                    self._pidfd = fd
                case "listener":
                    self._server.accept_from(socket.socket(fileno=fd))
                case "oom":
                    events, rearm = message["oom"]
                    self._cgroup.follow(self._loop, OomWatch(fd, events, rearm), self._tell_oom)
                case "port":
                    self._ports.append(fd)
                case "peer":
                    peers.append((fd, b64decode(next(rests)), []))
                case "rest":
                    peers[-1][2].append(fd)
        for fd, rest, rest_fds in peers:
            self._server.resume(socket.socket(fileno=fd), rest, rest_fds)
        for attach_id in self._detached:
            self._tell_detached(attach_id)
        if self._pid in self._statuses:
            self._init_ended(self._statuses.pop(self._pid))
        self._end_if_untied()

    def _end_if_untied(self) -> None:
        """Kill a container that is tied to its daemon when that has gone; the kernel kills what it has started."""
        if self._tied and self._server.alone and process.is_child(self._pid):
            os.kill(self._pid, signal.SIGKILL)

    def _starter_gone(self) -> None:
        """The starter has ended. If it did not say that the program runs, nothing is left to do."""
        if not self._running:
            os._exit(0)

    def _tell_oom(self) -> None:
        self._server.broadcast({"type": "oom"})

    def _tell_detached(self, attach_id: str) -> None:
        if self._running:
            self._server.broadcast({"type": "detached", "attach_id": attach_id})
        else:
            self._detached.append(attach_id)

    def _make_streams(self, *, tty: bool, stdin_once: bool, log: Journal | None) -> Streams:
        return Streams(
            self._loop,
            tty=tty,
            stdin_once=stdin_once,
            log=log,
            on_detached=self._tell_detached,
            on_idle=self._end_if_idle,
        )

    # The end.

    def _reap(self) -> None:
        """Reap every child that has ended: the first process, further ones, the starter, orphans that came to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if not self._running:
                self._statuses[pid] = status
            elif pid == self._pid:
                self._init_ended(status)
            elif self._execs:
                self._reaped_of_exec(pid, status)

    def _reaped_of_exec(self, pid: int, status: int) -> None:
        """Find out whose process it was; one that is still starting may tell only later which is its own."""
        execs = list(self._execs.values())
        for further in execs:
            further.hear()
        for further in execs:
            if further.settled and further.last_pid == pid:
                self._exec_ended(further, status)
                return
        if any(not further.settled for further in execs):
            self._statuses[pid] = status

    def _init_ended(self, status: int) -> None:
        self._status = status
        if not self._own_pid_namespace:
            self._cgroup.kill()
        descriptors.close_all(self._ports)
        assert self._streams is not None
        self._streams.end(self._output_read, _DRAIN_SECONDS)

    def _output_read(self) -> None:
        """The container is over: put down how, and tell everyone; clients see the end of the streams next."""
        for further in list(self._execs.values()):
            further.streams.end_now()
        ending = self._ending()
        assert self._run_dir is not None
        try:
            if not self._tied:
                self._run_dir.write_exit(ending)
        except OSError as error:  # a full disk: who listens learns it all the same
            ending["error"] = f"the end could not be written down: {error.strerror}"
        if self._cgroup.news_of_oom():  # the end was quicker than the kernel's word
            self._tell_oom()
        self._server.broadcast({"type": "exited", **ending})
        self._loop.call_later(0, self._let_go)

    def _let_go(self) -> None:
        """Remove what is left, and let the next container of this name begin."""
        assert self._run_dir is not None
        self._ended = True
        self._run_dir.forget("state.json", "shim.sock")
        if self._log is not None:
            self._log.close()
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

    @property
    def _busy(self) -> bool:
        return self._streams is not None and self._streams.busy

    def _end_if_idle(self) -> None:
        if self._ended and not self._busy:
            self._loop.stop()

    # The peers.

    def _greet(self, channel: Channel) -> None:
        channel.send(
            {
                "type": "hello",
                "version": VERSION,
                "id": self._id,
                "pid": self._pid,
                "shim_pid": os.getpid(),
                "exec_ids": [further.id for further in self._execs.values() if further.started],
            }
        )
        channel.send({"type": "started", "pid": self._pid, "start_ticks": self._start_ticks, "time": self._started_at})

    def _request(self, channel: Channel, message: Message, fds: list[int]) -> dict[str, Any] | None:
        match message["type"]:
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
                self._server.add(socket.socket(fileno=fds.pop(0)))  # a start was asked for again: one peer more
                return {}
        raise Refused(f"unknown request {message['type']}", errno=numbers.ENOSYS)

    def _signal(self, message: Message) -> dict[str, Any]:
        """Signal a process that we have not reaped, so its number is still its own."""
        pid = self._find_exec(message).pid if message.get("exec_id") else self._pid
        if not process.is_child(pid):
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
        if self._streams is None or self._ended:
            raise Refused("the container is not running", errno=numbers.ESRCH)
        return self._streams

    def _find_exec(self, message: Message) -> Exec:
        further = self._execs.get(str(message["exec_id"]))
        if further is None:
            raise Refused(f"no exec {message['exec_id']}", errno=numbers.ESRCH)
        return further

    # Further processes.

    def _exec(self, channel: Channel, message: Message, fds: list[int]) -> None:
        """Start a process; the answer comes when it has been executed."""
        if self._status is not None:
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

    def _exec_settled(self, further: Exec, failure: StartError | None) -> None:
        channel, message = self._exec_requests.pop(further.id)
        if failure is None:
            channel.send({"type": "answer", "seq": message["seq"], "ok": True, "pid": further.pid})
        else:
            text = exec_message(failure)
            further.streams.say(text + "\r\n")
            server.refuse(channel, message, text, errno=failure.errno, exit_code=failure.exit_code)
        if further.last_pid in self._statuses:
            self._exec_ended(further, self._statuses[further.last_pid])
        if all(other.settled for other in self._execs.values()):
            self._statuses.clear()

    def _exec_ended(self, further: Exec, status: int) -> None:
        further.status = status
        further.streams.end(lambda: self._exec_over(further), _DRAIN_SECONDS)

    def _exec_over(self, further: Exec) -> None:
        del self._execs[further.id]
        if not further.started:
            return
        assert further.status is not None
        code = os.waitstatus_to_exitcode(further.status)
        self._server.broadcast(
            {
                "type": "exec_exited",
                "exec_id": further.id,
                "exit_code": code if code >= 0 else 128 - code,
                "time": time.time_ns(),
            }
        )
