"""One start: from the request to the launcher until the container's program has been executed.

::

    launcher  ──start──▶ forks a shim, which speaks on ctl:
    ctl       ◀─hello── ◀─netns(fd)── ──network──▶ ◀─started── or ◀─failed──

While the shim mounts, the listener connects the network; both meet before the exec. If the launcher dies before the
shim said a word, the request is repeated (`Unspoken`). If the caller gives up, the start is undone before it
hears of it: abort, or a kill when it is too late for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from typing import Any

from orlop.errors import Internal, StartFailed
from orlop.formats.shim_wire import Message
from orlop.linux import descriptors
from orlop.runtime import requests, run_state
from orlop.runtime.connection import Connection, ConnectionLost
from orlop.runtime.launcher_client import Launcher
from orlop.runtime.leftovers import kill_left
from orlop.runtime.run_state import RunState
from orlop.runtime.runtime import Launch
from orlop.runtime.task import NativeTask, Owner

__all__ = ["Startup", "Unspoken"]

_log = logging.getLogger(__name__)
_LAUNCHER_GRACE = 0.5  # seconds in which the end of a launcher is noticed after that of its shim's socket
_ABORT_TIMEOUT = 10.0  # seconds that a shim has to give up by itself


class Unspoken(Exception):
    """The launcher died, and no shim has spoken: nothing has happened."""


class Startup:
    """The start of `launch`. `run` may be called again after `Unspoken`; `close` in the end."""

    def __init__(self, owner: Owner, launch: Launch) -> None:
        self._owner = owner
        self._launch = launch
        self._lent_fds = (*launch.port_fds, *launch.mount_fds, *(launch.output_fds or ()))
        self._frame = requests.encode(requests.start(launch), 1 + len(launch.attaches) + len(self._lent_fds))
        self._attach_fds = [attach.fd for attach in launch.attaches]
        self._network: asyncio.Task[Any] | None = None
        self._error: BaseException | None = None  # why we aborted
        self._spoken = False
        self._shim_pid = 0

    async def run(self, launcher: Launcher) -> NativeTask:
        """Return the task when its program was executed. Raises `errors.StartFailed`, what the listener raised,
        or `Unspoken`; nothing runs then."""
        loop = asyncio.get_running_loop()
        self._launcher = launcher
        run_state.forget(self._launch.run_dir)
        self._outcome: asyncio.Future[NativeTask] = loop.create_future()
        self._settled: asyncio.Future[None] = loop.create_future()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ctl = Connection(ours, self._message, self._lost)
        try:
            with theirs:
                launcher.send_frame(self._frame, (theirs.fileno(), *self._attach_fds, *self._lent_fds))
        except ConnectionLost:
            self._ctl.close()
            raise Unspoken from None
        try:
            await self._settled  # not `_outcome`, which a cancellation must leave as it is
        except asyncio.CancelledError:
            await asyncio.shield(self._owner.spawn(self._undo()))
            raise
        return self._outcome.result()

    def close(self) -> None:
        """Close what the runtime was given; the shim has duplicates."""
        descriptors.close_all(self._attach_fds)
        self._attach_fds = []

    def _message(self, message: Message, fds: list[int]) -> None:
        if not self._spoken:
            self._spoken = True
            self.close()
        match message["type"]:
            case "netns" if fds and self._error is None:
                self._network = self._owner.spawn(self._connect(fds.pop(0)))
            case "started":
                self._started(message)
            case "failed":
                self._fail(StartFailed(_text(message), int(message.get("exit_code") or 128)))
                self._ctl.close()
            case "attached":
                self._owner.listener.attached(self._launch.id, str(message.get("attach_id")))
            case "detached":
                self._owner.listener.detached(self._launch.id, str(message.get("attach_id")))
            case "hello":
                self._shim_pid = int(message.get("shim_pid") or 0)
        descriptors.close_all(fds)

    async def _connect(self, netns: int) -> None:
        """Have the namespace connected and tell the shim."""
        try:
            answer = await self._owner.listener.connect_network(self._launch.id, netns)
        except Exception as error:  # noqa: BLE001 it is what `run` raises
            self._abort(error)
        else:
            if self._error is None:
                with contextlib.suppress(ConnectionLost):  # `_lost` says it
                    self._ctl.send({"type": "network", **answer})
        finally:
            os.close(netns)

    def _abort(self, error: BaseException) -> None:
        self._error = error
        with contextlib.suppress(ConnectionLost):
            self._ctl.send({"type": "abort"})

    def _started(self, message: Message) -> None:
        state = RunState(
            id=self._launch.id,
            shim_pid=self._shim_pid,
            shim_start_ticks=0,
            pid=int(message["pid"]),
            start_ticks=int(message.get("start_ticks") or 0),
            started_at=int(message.get("time") or 0),
        )
        task = NativeTask(self._owner, self._ctl, self._launch.run_dir, state)
        if not self._outcome.done():
            self._outcome.set_result(task)
            self._wake()
        self._ctl.defer()  # whoever waits for the start hears of it before it hears of the end

    def _fail(self, error: BaseException) -> None:
        """Let `run` raise why we aborted, else `error`; not while the network is still being connected."""
        reason = self._error or error

        def settle(_: object) -> None:
            if not self._outcome.done():
                self._outcome.set_exception(reason)
                self._wake()

        if self._network is None or self._network.done():
            settle(None)
        else:
            self._network.add_done_callback(settle)

    def _wake(self) -> None:
        if not self._settled.done():
            self._settled.set_result(None)

    def _lost(self) -> None:
        self._owner.spawn(self._after_loss())

    async def _after_loss(self) -> None:
        """The shim is gone in the middle of the start, or the launcher before there was one."""
        if not self._spoken:
            await asyncio.wait([self._launcher.died], timeout=_LAUNCHER_GRACE)
            if not self._launcher.alive:
                self._fail(Unspoken())
                return
        await kill_left(self._launch.id, 0, 0, self._owner.kill_rest)
        self._fail(StartFailed("the shim died before the container was started"))

    async def _undo(self) -> None:
        """Bring a start that nobody wants any more to its end."""
        self._abort(Internal("the start was given up"))
        await asyncio.wait([self._outcome], timeout=_ABORT_TIMEOUT)
        if not self._outcome.done():
            _log.error("the shim of container %s does not give up its start: killed", self._launch.id[:12])
            if self._shim_pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._shim_pid, signal.SIGKILL)
            self._ctl.close()
            await kill_left(self._launch.id, 0, 0, self._owner.kill_rest)
        elif self._outcome.exception() is None:
            task = self._outcome.result()
            task.disown()
            await task.signal(signal.SIGKILL)
            await task.exited


def _text(message: Message) -> str:
    return str(message.get("message") or message.get("stage") or "the container could not be started")
