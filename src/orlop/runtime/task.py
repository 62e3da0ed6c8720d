"""A running container, seen through the connection to its shim."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from orlop.errors import Conflict, Internal, StartFailed
from orlop.formats.shim_wire import Message
from orlop.linux import descriptors
from orlop.runtime import requests
from orlop.runtime.connection import Connection, ConnectionLost
from orlop.runtime.leftovers import KillRest, kill_left
from orlop.runtime.run_state import RunState, exit_of, read_exit
from orlop.runtime.runtime import Attach, ExecRequest, Exit, TaskListener

__all__ = ["LOST", "NativeTask", "Owner", "Spawn"]

LOST = "shim died"  # the error of an exit that nobody saw
_KILLED = 128 + 9


class Spawn(Protocol):
    """Runs work that outlives its caller; its owner waits for it when it closes."""

    def __call__(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]: ...


@dataclass(frozen=True, slots=True)
class Owner:
    """What tasks are given by the runtime that they belong to."""

    listener: TaskListener
    spawn: Spawn
    kill_rest: KillRest | None = None


class NativeTask:
    """A container under one of our shims (`runtime.Task`); takes over the messages of `connection`."""

    def __init__(self, owner: Owner, connection: Connection, run_dir: str, state: RunState) -> None:
        self.id = state.id
        self.pid = state.pid
        self.shim_pid = state.shim_pid
        self.started_at = state.started_at
        self.exited: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._owner = owner
        self._listener: TaskListener | None = owner.listener
        self._connection = connection
        self._run_dir = run_dir
        self._state = state
        connection.on_message = self._message
        connection.on_lost = self._lost

    async def signal(self, number: int) -> None:
        """Send signal `number` to the first process; nothing happens if it has ended."""
        try:
            answer = await self._connection.request({"type": "signal", "signal": number})
        except ConnectionLost:
            return
        if not answer.get("ok") and answer.get("errno") != errno.ESRCH:
            raise Internal(f"cannot send signal {number} to container {self.id}: {_reason(answer)}")

    async def resize(self, height: int, width: int, exec_id: str | None = None) -> None:
        """Set the size of a process's terminal in characters. Raises `errors.Conflict` when it has ended."""
        message: Message = {"type": "resize", "height": height, "width": width}
        if exec_id is not None:
            message["exec_id"] = exec_id
        answer = await self._request(message)
        if not answer.get("ok"):
            raise Conflict(f"cannot resize container {self.id}: {_reason(answer)}")

    async def attach(self, attach: Attach) -> None:
        """Join a client's socket to the streams. Raises `errors.Conflict` when the container has ended."""
        try:
            answer = await self._request(requests.attach(attach), (attach.fd,))
        finally:
            os.close(attach.fd)
        if not answer.get("ok"):
            raise Internal(f"cannot attach to container {self.id}: {_reason(answer)}")

    async def exec(self, request: ExecRequest) -> int:
        """Start a further process; return its pid. Raises `errors.StartFailed`, or `Conflict` after the end."""
        fds = () if request.attach is None else (request.attach.fd,)
        try:
            answer = await self._request(requests.exec(request), fds)
        finally:
            descriptors.close_all(fds)
        if not answer.get("ok"):
            raise StartFailed(_reason(answer), int(answer.get("exit_code") or 128))
        return int(answer.get("pid") or 0)

    async def reopen_log(self) -> None:
        """Let the shim go on with a new journal file. Raises `errors.Conflict` when the container has ended."""
        await self._request({"type": "reopen_log"})

    def disown(self) -> None:
        """Tell the listener nothing more: the start was given up."""
        self._listener = None

    def leave(self) -> None:
        """Close the connection and let the container run on; `exited` will never be done."""
        self._connection.close()

    async def _request(self, message: Message, fds: Sequence[int] = ()) -> Message:
        try:
            return await self._connection.request(message, fds)
        except ConnectionLost:
            raise Conflict(f"container {self.id} is not running") from None

    def _message(self, message: Message, fds: list[int]) -> None:
        descriptors.close_all(fds)
        if message["type"] == "exited":
            self._end(exit_of(message))
            return
        listener = self._listener
        if listener is None:
            return
        match message["type"]:
            case "attached":
                listener.attached(self.id, str(message.get("attach_id")))
            case "detached":
                listener.detached(self.id, str(message.get("attach_id")))
            case "exec_exited":
                listener.exec_exited(self.id, str(message.get("exec_id")), exit_of(message))
            case "oom":
                listener.oom(self.id)

    def _end(self, exit: Exit) -> None:
        if self.exited.done():
            return
        self.exited.set_result(exit)
        if self._listener is not None:
            self._listener.exited(self.id, exit)

    def _lost(self) -> None:
        if not self.exited.done():
            self._owner.spawn(self._find_end())

    async def _find_end(self) -> None:
        """Find out how a container ended whose shim is gone, and see to it that it has."""
        exit = await find_end(self._run_dir, self._state, self._owner.kill_rest)
        self._end(exit)


async def find_end(run_dir: str, state: RunState, kill_rest: KillRest | None) -> Exit:
    """Return how a container ended whose shim is gone: as the shim wrote, else killed now, by us."""
    exit = read_exit(run_dir)
    if exit is None:
        await kill_left(state.id, state.pid, state.start_ticks, kill_rest)
        exit = Exit(_KILLED, time.time_ns(), error=LOST)
    return exit


def _reason(answer: Message) -> str:
    number = int(answer.get("errno") or 0)
    return str(answer.get("message") or (os.strerror(number) if number else "unknown error"))
