"""The runtime with Orlop's own launcher and shims (`runtime.Runtime`).

Starts run side by side and wait for nothing of each other. A launcher that dies is replaced, and the starts that it
had not forked yet are repeated; those whose shim has spoken don't need it any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from orlop.errors import Unavailable
from orlop.runtime import adopt
from orlop.runtime.launcher_client import Launcher
from orlop.runtime.leftovers import KillRest
from orlop.runtime.runtime import Exit, Launch, TaskListener
from orlop.runtime.startup import Startup, Unspoken
from orlop.runtime.task import NativeTask, Owner

__all__ = ["NativeRuntime"]

_log = logging.getLogger(__name__)
_ATTEMPTS = 3  # launchers that may die under one start


class NativeRuntime:
    """Starts containers under shims and takes back those that run.

    `kill_rest` kills whatever runs in a container's cgroup; it is called (in a thread) when a shim died.
    `launcher` is the command of another launcher than our own; it gets the number of its socket as last argument.
    """

    def __init__(
        self,
        exec_root: Path,
        listener: TaskListener,
        kill_rest: KillRest | None = None,
        launcher: Sequence[str] = (),
    ) -> None:
        self._exec_root = exec_root
        self._launcher_command = launcher
        self._owner = Owner(listener, self._spawn, kill_rest)
        self._launcher: Launcher | None = None
        self._launcher_lock = asyncio.Lock()
        self._tasks: set[NativeTask] = set()
        self._work: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def open(self) -> None:
        """Start the launcher. Raises `errors.Unavailable`."""
        (self._exec_root / "c").mkdir(mode=0o710, parents=True, exist_ok=True)
        await self._ready_launcher()

    async def launch(self, launch: Launch) -> NativeTask:
        """Start a container; return when its program was executed.

        Raises `errors.StartFailed`, or what the listener's `connect_network` raised. Then, and when the caller is
        cancelled, nothing is left behind. The sockets in ``launch.attaches`` are closed here in any case, those in
        ``launch.port_fds``, ``launch.mount_fds`` and ``launch.output_fds`` stay the caller's.
        """
        startup = Startup(self._owner, launch)
        try:
            for attempt in range(1, _ATTEMPTS + 1):
                launcher = await self._ready_launcher()
                try:
                    return self._keep(await startup.run(launcher))
                except Unspoken:
                    _log.warning("the launcher died (%s) in attempt %d", await launcher.status(), attempt)
            raise Unavailable(f"the launcher died {_ATTEMPTS} times ({await launcher.status()})")
        finally:
            startup.close()

    async def adopt(self, container_id: str, run_dir: str) -> NativeTask | Exit | None:
        """Take back a container of a previous daemon; see `orlop.runtime.adopt.adopt`."""
        found = await adopt.adopt(self._owner, container_id, run_dir)
        return self._keep(found) if isinstance(found, NativeTask) else found

    async def close(self) -> None:
        """Leave every container running and go; starts that are under way should have been cancelled."""
        self._closed = True
        for task in list(self._tasks):
            task.leave()
        self._tasks.clear()
        if self._work:
            await asyncio.wait(self._work)
        if self._launcher is not None:
            await self._launcher.close()

    async def _ready_launcher(self) -> Launcher:
        if self._launcher is not None and self._launcher.alive:
            return self._launcher
        async with self._launcher_lock:
            if self._closed:
                raise Unavailable("the runtime is closed")
            if self._launcher is None or not self._launcher.alive:
                if self._launcher is not None:
                    _log.warning("launcher %d: %s; starting another", self._launcher.pid, await self._launcher.status())
                    await self._launcher.close()
                self._launcher = await Launcher.start(self._exec_root, self._launcher_command)
            return self._launcher

    def _keep(self, task: NativeTask) -> NativeTask:
        self._tasks.add(task)
        task.exited.add_done_callback(lambda _: self._tasks.discard(task))
        return task

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task
