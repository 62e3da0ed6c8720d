"""Taking back a container that a previous daemon launched."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket

from orlop.errors import Unavailable
from orlop.formats.shim_wire import Message
from orlop.linux import descriptors, proc
from orlop.runtime.connection import Connection
from orlop.runtime.leftovers import kill_exact
from orlop.runtime.run_state import SOCKET, RunState, read_exit, read_state
from orlop.runtime.runtime import Exit
from orlop.runtime.task import LOST, NativeTask, Owner, find_end

__all__ = ["adopt"]

_log = logging.getLogger(__name__)
_ANSWER_TIMEOUT = 4.0  # seconds for a shim to say hello
_BUSY_TIMEOUT = 30.0  # seconds for one that is at work (or waits for a disk), and to bring a start to its end
_CONNECT_RETRY = 0.02  # seconds, while a shim's queue of connections is full


async def adopt(owner: Owner, container_id: str, run_dir: str) -> NativeTask | Exit | None:
    """Return the running task, how it ended, or None when this boot's kernel never ran it to its end or its start.

    A shim that is gone without having written an exit leaves nothing alive when this returns. One that lives and does
    not answer is killed, and its container with it: nobody could stop that, nor know its end. One that was in the
    middle of a start is waited for. Raises `errors.Unavailable` when a shim neither listens nor ends.
    """
    state = read_state(run_dir, container_id)
    try:
        sock = await _reach(run_dir)
        task = await _Greeting(owner, sock, container_id, run_dir, state).wait() if sock is not None else None
    except TimeoutError:
        _log.error("the shim of container %s does not answer: it is killed, with its container", container_id[:12])
        task, state = None, read_state(run_dir, container_id)
        if state is not None:
            await kill_exact(state.shim_pid, state.shim_start_ticks)
    if task is not None:
        return task
    state = read_state(run_dir, container_id)  # it may have been written, or come to its end, meanwhile
    if state is None:
        return read_exit(run_dir)
    exit = await find_end(run_dir, state, owner.kill_rest)
    return exit if state.started_at or exit.error != LOST else None  # None: it died in the middle of a start


async def _reach(run_dir: str) -> socket.socket | None:
    """Connect to the shim that holds the run directory; None when there is none (any more).

    Raises `TimeoutError` when it accepts no connections, and `errors.Unavailable`.
    """
    deadline = asyncio.get_running_loop().time() + _ANSWER_TIMEOUT
    sock = await _connect(run_dir, deadline)
    while sock is None and _locked(run_dir):
        if asyncio.get_running_loop().time() > deadline:
            raise Unavailable(f"the shim in {run_dir} has no socket and does not end")
        await asyncio.sleep(_CONNECT_RETRY)
        sock = await _connect(run_dir, deadline)
    return sock


def _locked(run_dir: str) -> bool:
    """Say whether a shim holds the lock of the directory: without a socket it is just beginning, or just ending."""
    try:
        descriptor = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


async def _connect(run_dir: str, deadline: float) -> socket.socket | None:
    """Connect to a shim; None if none listens. The path goes through a descriptor: 107 bytes are the limit."""
    try:
        directory = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        while True:
            try:
                sock.connect(f"/proc/self/fd/{directory}/{SOCKET}")
                return sock
            except BlockingIOError:
                if asyncio.get_running_loop().time() > deadline:
                    raise TimeoutError from None
            await asyncio.sleep(_CONNECT_RETRY)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(directory)


def _busy(state: RunState | None) -> bool:
    """Say whether a shim computes or waits for a disk: a machine may be that slow."""
    if state is None:
        return False
    try:
        found = proc.stat(state.shim_pid)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return found.start_ticks == state.shim_start_ticks and found.state in "RD"


class _Greeting:
    """The first words of a shim that is connected to."""

    def __init__(
        self, owner: Owner, sock: socket.socket, container_id: str, run_dir: str, state: RunState | None
    ) -> None:
        self._owner = owner
        self._id = container_id
        self._run_dir = run_dir
        self._state = state
        self._shim_pid = 0
        loop = asyncio.get_running_loop()
        self._future: asyncio.Future[NativeTask | None] = loop.create_future()
        self._connection = Connection(sock, self._message, self._lost)

    async def wait(self) -> NativeTask | None:
        """Return the task, when its program runs; None when the shim goes away instead. Raises `TimeoutError`."""
        try:
            await asyncio.wait([self._future], timeout=_ANSWER_TIMEOUT)
            if not self._future.done() and (self._shim_pid or _busy(self._state)):
                await asyncio.wait([self._future], timeout=_BUSY_TIMEOUT)
            if not self._future.done():
                raise TimeoutError
            return self._future.result()
        except BaseException:
            self._connection.close()
            raise

    def _message(self, message: Message, fds: list[int]) -> None:
        descriptors.close_all(fds)
        match message["type"]:
            case "hello" if message.get("id") != self._id:
                _log.error("the shim in %s is that of container %s", self._run_dir, message.get("id"))
                self._connection.close()
                self._lost()
            case "hello":
                self._shim_pid = int(message.get("shim_pid") or 0)
                if message.get("pid"):  # 0: a start that is still under way
                    self._adopt(int(message["pid"]), 0, 0)
            case "started":
                self._adopt(int(message["pid"]), int(message.get("start_ticks") or 0), int(message.get("time") or 0))

    def _adopt(self, pid: int, start_ticks: int, started_at: int) -> None:
        known = self._state
        if known is None or known.pid != pid:  # it was written after we looked
            known = read_state(self._run_dir, self._id)
        state = RunState(
            id=self._id,
            shim_pid=self._shim_pid,
            shim_start_ticks=known.shim_start_ticks if known else 0,
            pid=pid,
            start_ticks=start_ticks or (known.start_ticks if known else 0),
            started_at=started_at or (known.started_at if known else 0),
        )
        self._future.set_result(NativeTask(self._owner, self._connection, self._run_dir, state))
        self._connection.defer()

    def _lost(self) -> None:
        if not self._future.done():
            self._future.set_result(None)
