"""The task: a container's processes while they exist.

A task is *launched* (its shim is forked, its namespaces, mounts and cgroup are made), *started* (its program has been
executed), perhaps *frozen* and *thawed*, and it *exits* once; its exit status is on disk before anyone is told. A
daemon that starts *adopts* the tasks that a previous one launched. The runtime knows nothing of images, networks by
name or API bodies: it is given a specification, directories and descriptors.

`orlop.runtime.native` is the implementation with Orlop's own launcher and shims.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from orlop.model.record import Rootfs

__all__ = ["Attach", "ExecRequest", "Exit", "Launch", "LogTarget", "Runtime", "Stdio", "Task", "TaskListener"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stdio:
    """What a process's standard streams are. `size` is (height, width) of a terminal, (0, 0) if unknown."""

    tty: bool = False
    stdin: bool = False  # keep stdin open (-i)
    stdin_once: bool = False  # close it when the first attached client goes
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class LogTarget:
    """Where the journal is written: `max_bytes` a file before it is rotated, `max_files` files in all;

    without a directory nothing is kept."""

    directory: str | None
    max_bytes: int = 20 << 20
    max_files: int = 5


@dataclass(frozen=True, slots=True)
class Attach:
    """A client's socket to be joined to a process's streams. `fd` is the runtime's from now on (it closes it).

    `framed` asks for Docker's stream frames, else bytes go raw; `tail` is what arrived behind the request's head;
    `logs` replays the journal first, `stream` goes on live. `detach_keys` are the raw bytes of the key sequence.
    """

    id: str
    fd: int
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    logs: bool = False
    stream: bool = True
    framed: bool = True
    detach_keys: bytes = b"\x10\x11"
    tail: bytes = b""


@dataclass(frozen=True, slots=True)
class Launch:
    """All that a start needs.

    `spec` is an OCI runtime specification (config.json) whose ``process.user`` may hold ``username`` ("user[:group]")
    and ``additionalGroups`` (names or numbers), which are looked up in the container's own files. `seccomp` is the
    compiled program that `spec` asked for. `network` says that the new network namespace is to be connected
    by `TaskListener.connect_network` before the program is executed. `port_fds` are bound sockets that the shim holds.
    `mount_fds` are detached mounts: a bind mount of the specification with the option ``x-orlop-given=N`` has the N-th
    as its source. `output_fds` are where the program writes standard output and error itself, with no journal and no
    clients between. A `tied` container ends at once when this runtime goes, killed or not; no file tells of it.
    """

    id: str
    spec: Json
    rootfs: Rootfs
    run_dir: str
    log: LogTarget
    stdio: Stdio = Stdio()
    seccomp: bytes | None = None
    network: bool = False
    attaches: tuple[Attach, ...] = ()
    port_fds: tuple[int, ...] = ()
    mount_fds: tuple[int, ...] = ()
    output_fds: tuple[int, int] | None = None
    tied: bool = False


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A further process in a running container; `process` is an OCI process object as in `Launch.spec`."""

    id: str
    process: Json
    stdio: Stdio
    seccomp: bytes | None = None
    attach: Attach | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: `code` is 128+n for signal n; `time` in ns."""

    code: int
    time: int
    oom_killed: bool = False
    error: str = ""


class TaskListener(Protocol):
    """What the engine is told of a task. Calls come on the event loop, in the order in which things happened."""

    async def connect_network(self, container_id: str, netns_fd: int) -> Json:
        """Connect the namespace; return the ``network`` message for the shim. An error aborts the start."""

    def attached(self, container_id: str, attach_id: str) -> None:
        """A client has been joined to the streams."""

    def detached(self, container_id: str, attach_id: str) -> None:
        """A client used its detach keys."""

    def exec_exited(self, container_id: str, exec_id: str, exit: Exit) -> None:
        """A further process has ended."""

    def oom(self, container_id: str) -> None:
        """The container met its memory limit."""

    def exited(self, container_id: str, exit: Exit) -> None:
        """The container has ended; nothing more is told of it."""


class Task(Protocol):
    """A started container."""

    id: str
    pid: int
    shim_pid: int
    started_at: int  # ns
    exited: asyncio.Future[Exit]

    async def signal(self, number: int) -> None:
        """Send signal `number` to the first process; nothing happens if it has ended."""

    async def resize(self, height: int, width: int, exec_id: str | None = None) -> None:
        """Set the size of a terminal, in characters. Raises `errors.Conflict` after its end."""

    async def attach(self, attach: Attach) -> None:
        """Join a client to the streams. Raises `errors.Conflict` after the end."""

    async def exec(self, request: ExecRequest) -> int:
        """Start a further process; return its pid (host). Raises `errors.StartFailed`."""


class Runtime(Protocol):
    """Starts tasks and gives back those that run."""

    async def launch(self, launch: Launch) -> Task:
        """Return when the program has been executed. Raises `errors.StartFailed`; then nothing is left behind."""

    async def adopt(self, container_id: str, run_dir: str) -> Task | Exit | None:
        """Return the running task, or how it ended, or None when nothing is known (another boot, a killed shim)."""

    async def close(self) -> None:
        """Leave every container running and go."""


ConnectNetwork = Callable[[str, int], Awaitable[Json]]


@dataclass(slots=True)
class Usage:
    """Counters of a task at one moment; the API makes Docker's statistics from them."""

    read_at: int  # ns
    cpu_total: int = 0  # ns
    cpu_user: int = 0
    cpu_system: int = 0
    per_cpu: list[int] = field(default_factory=list)
    throttled: tuple[int, int, int] = (0, 0, 0)  # periods, throttled periods, throttled ns
    memory_usage: int = 0
    memory_max: int = 0
    memory_limit: int = 0
    memory_failcnt: int = 0
    memory_stats: dict[str, int] = field(default_factory=dict)
    pids: int = 0
    pids_limit: int = 0
    blkio: dict[str, list[Json]] = field(default_factory=dict)
