"""The daemon's half of the conversation with launcher and shims, against ones that play theirs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from orlop.errors import Conflict, StartFailed, Unavailable
from orlop.formats.shim_wire import encode
from orlop.linux import proc
from orlop.model.record import Rootfs
from orlop.runtime.native import NativeRuntime
from orlop.runtime.runtime import Attach, ExecRequest, Exit, Launch, LogTarget, Stdio
from orlop.runtime.task import NativeTask

FAKE = [sys.executable, str(Path(__file__).with_name("fake_launcher.py"))]
ID = "a" * 64


class Listener:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.network: Any = {"interfaces": []}
        self.connected = asyncio.Event()
        self.release: asyncio.Event | None = None

    async def connect_network(self, container_id: str, netns_fd: int) -> dict[str, Any]:
        os.fstat(netns_fd)
        self.connected.set()
        if self.release:
            await self.release.wait()
        if isinstance(self.network, Exception):
            raise self.network
        return self.network  # type: ignore[no-any-return]

    def attached(self, container_id: str, attach_id: str) -> None:
        self.told.append(("attached", attach_id))

    def detached(self, container_id: str, attach_id: str) -> None:
        self.told.append(("detached", attach_id))

    def exec_exited(self, container_id: str, exec_id: str, exit: Exit) -> None:
        self.told.append(("exec_exited", exec_id, exit.code))

    def oom(self, container_id: str) -> None:
        self.told.append(("oom",))

    def exited(self, container_id: str, exit: Exit) -> None:
        self.told.append(("exited", exit.code))


class Runtime:
    """A runtime under test, with what it was given and what it asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.listener = Listener()
        self.killed: list[str] = []
        self.native = NativeRuntime(root, self.listener, self.killed.append, FAKE)

    def plan(self, play: str, number: int = 0, **fields: Any) -> Launch:
        run_dir = self.root / "c" / f"{number:012x}"
        run_dir.mkdir(parents=True, exist_ok=True)
        spec = {"play": play, **fields.pop("spec", {})}
        rootfs = Rootfs(lower=("/l",), upper="/u", work="/w")
        return Launch(
            id=f"{number:064x}", spec=spec, rootfs=rootfs, run_dir=str(run_dir), log=LogTarget(None), **fields
        )


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    before = len(os.listdir("/proc/self/fd"))
    runtime = Runtime(tmp_path)
    await runtime.native.open()
    yield runtime
    await runtime.native.close()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_container_starts_is_signalled_and_ends_once(runtime: Runtime) -> None:
    task = await runtime.native.launch(runtime.plan("run", network=True))
    assert task.started_at == 42
    assert task.pid == task.shim_pid > 0
    await task.resize(24, 80)
    await task.signal(signal.SIGKILL)
    assert await task.exited == Exit(137, 44, oom_killed=True)
    assert runtime.listener.told == [("exited", 137)]
    await task.signal(signal.SIGTERM)  # nothing to do any more
    with pytest.raises(Conflict, match="is not running"):
        await task.exec(ExecRequest("e", {}, Stdio()))


async def test_parallel_starts_all_succeed_and_the_start_is_heard_of_before_the_end(runtime: Runtime) -> None:
    async def start(number: int) -> int:
        task = await runtime.native.launch(runtime.plan("quick", number))
        assert not task.exited.done()
        return (await task.exited).code

    assert await asyncio.gather(*map(start, range(20))) == [0] * 20


async def test_execs_and_attaches_are_answered_and_their_ends_told(runtime: Runtime) -> None:
    parked, theirs = socket.socketpair()
    attach = Attach("p", theirs.detach())
    task = await runtime.native.launch(runtime.plan("run", attaches=(attach,)))
    assert await asyncio.to_thread(parked.recv, 99) == b"attached"
    assert await asyncio.to_thread(parked.recv, 99) == b""  # nobody but the shim has held it
    ours, theirs = socket.socketpair()
    await task.attach(Attach("one", theirs.detach(), stdout=True))
    assert await asyncio.to_thread(ours.recv, 99) == b"hello one"
    assert await task.exec(ExecRequest("e1", {"args": ["x"]}, Stdio())) == 77
    with pytest.raises(StartFailed) as failure:
        await task.exec(ExecRequest("e2", {"bad": True}, Stdio()))
    assert (failure.value.exit_code, failure.value.status) == (126, 400)
    assert runtime.listener.told == [("detached", "one"), ("exec_exited", "e1", 5)]
    await task.signal(9)
    await task.exited
    ours.close()
    parked.close()


async def test_more_descriptors_than_one_call_takes_arrive(runtime: Runtime) -> None:
    pairs = [socket.socketpair() for _ in range(300)]
    launch = runtime.plan("run", port_fds=tuple(theirs.fileno() for _, theirs in pairs))
    task = await runtime.native.launch(launch)
    for ours, theirs in pairs:
        assert await asyncio.to_thread(ours.recv, 8) == b"attached"
        ours.close()
        theirs.close()
    await task.signal(9)
    await task.exited


async def test_a_failed_start_says_what_the_shim_says(runtime: Runtime) -> None:
    with pytest.raises(StartFailed, match="not found") as failure:
        await runtime.native.launch(runtime.plan("fail", network=True))
    assert failure.value.exit_code == 127


async def test_a_network_that_cannot_be_connected_aborts_the_start_with_its_own_error(runtime: Runtime) -> None:
    runtime.listener.network = Conflict("port is already allocated")
    with pytest.raises(Conflict, match="port is already allocated"):
        await runtime.native.launch(runtime.plan("run", network=True))


async def test_a_cancelled_start_is_undone_before_the_caller_goes_on(runtime: Runtime) -> None:
    runtime.listener.release = asyncio.Event()
    start = asyncio.create_task(runtime.native.launch(runtime.plan("run", network=True)))
    await runtime.listener.connected.wait()
    start.cancel()
    await asyncio.sleep(0.01)
    assert not start.done()
    runtime.listener.release.set()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert runtime.listener.told == []


@pytest.mark.parametrize("play", ["die", "silent"])
async def test_a_shim_that_dies_in_its_start_is_a_failed_start_and_the_rest_is_killed(
    runtime: Runtime, play: str
) -> None:
    ours, theirs = socket.socketpair()
    with pytest.raises(StartFailed, match="shim died"):
        await runtime.native.launch(runtime.plan(play, attaches=(Attach("a", theirs.detach()),)))
    assert runtime.killed == [f"{0:064x}"]
    assert await asyncio.to_thread(ours.recv, 1) == b""
    ours.close()


async def test_a_start_is_repeated_when_the_launcher_died_under_it(runtime: Runtime, tmp_path: Path) -> None:
    spec = {"once": str(tmp_path / "once")}
    starts = [runtime.native.launch(runtime.plan("run", n, spec=spec, network=True)) for n in range(5)]
    for task in await asyncio.gather(*starts):
        await task.signal(9)
        await task.exited


async def test_a_killed_launcher_is_replaced_and_the_running_are_not_disturbed(runtime: Runtime) -> None:
    task = await runtime.native.launch(runtime.plan("run", 1))
    launcher = runtime.native._launcher
    assert launcher is not None
    os.kill(launcher.pid, signal.SIGKILL)
    other = await runtime.native.launch(runtime.plan("run", 2))
    for each in (task, other):
        await each.signal(9)
        assert (await each.exited).code == 137


async def test_a_launcher_that_cannot_live_is_a_clear_error(tmp_path: Path) -> None:
    native = NativeRuntime(tmp_path, Listener(), None, [sys.executable, "-c", "raise SystemExit(7)"])
    await native.open()
    with pytest.raises(Unavailable, match=r"launcher died 3 times \(exit status 7\)"):
        await native.launch(Runtime(tmp_path).plan("run"))
    await native.close()
    native = NativeRuntime(tmp_path, Listener(), None, ["/no/such/program"])
    with pytest.raises(Unavailable, match="launcher cannot be started"):
        await native.open()
    await native.close()


async def test_a_shim_that_dies_is_an_exit_of_137_and_the_rest_is_killed(runtime: Runtime) -> None:
    task = await runtime.native.launch(runtime.plan("run"))
    await task.signal(signal.SIGABRT)
    exit = await task.exited
    assert (exit.code, exit.error) == (137, "shim died")
    assert runtime.killed == [task.id]


class TestAdoption:
    """What is believed of a run directory."""

    @pytest.fixture
    def run_dir(self, tmp_path: Path) -> Path:
        path = tmp_path / ("deep" * 40) / "c"  # longer than a socket's address may be
        path.mkdir(parents=True)
        return path

    def write(self, path: Path, **fields: Any) -> None:
        path.write_text(json.dumps({"id": ID, "boot_id": proc.boot_id(), **fields}))

    async def test_nothing_is_known_without_files_or_from_another_boot(self, runtime: Runtime, run_dir: Path) -> None:
        assert await runtime.native.adopt(ID, str(run_dir / "none")) is None
        self.write(run_dir / "state.json", boot_id="other", pid=1)
        self.write(run_dir / "exit.json", boot_id="other", exit_code=0)
        assert await runtime.native.adopt(ID, str(run_dir)) is None
        (run_dir / "state.json").write_text("{")
        assert await runtime.native.adopt(ID, str(run_dir)) is None

    async def test_an_exit_that_was_written_is_believed(self, runtime: Runtime, run_dir: Path) -> None:
        self.write(run_dir / "state.json", pid=1)
        self.write(run_dir / "exit.json", exit_code=3, signal=0, time=9, oom_killed=False)
        assert await runtime.native.adopt(ID, str(run_dir)) == Exit(3, 9)

    async def test_what_a_dead_shim_left_is_killed(self, runtime: Runtime, run_dir: Path) -> None:
        with subprocess.Popen(["sleep", "100"]) as left:  # noqa: ASYNC220
            self.write(run_dir / "state.json", pid=left.pid, started_at=1, start_ticks=proc.start_ticks(left.pid) + 1)
            exit = await runtime.native.adopt(ID, str(run_dir))
            assert isinstance(exit, Exit)
            assert left.poll() is None  # another process with that number
            self.write(run_dir / "state.json", pid=left.pid, started_at=1, start_ticks=proc.start_ticks(left.pid))
            exit = await runtime.native.adopt(ID, str(run_dir))
            assert isinstance(exit, Exit)
            assert (exit.code, exit.error) == (137, "shim died")
            assert left.wait() == -signal.SIGKILL
        assert runtime.killed == [ID, ID]

    @pytest.mark.parametrize("pid", [4711, 0])
    async def test_a_living_shim_gives_its_task_back(self, runtime: Runtime, run_dir: Path, pid: int) -> None:
        self.write(run_dir / "state.json", pid=4711, started_at=5, shim_pid=4710)

        async def shim(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(encode({"type": "hello", "id": ID, "pid": pid, "shim_pid": 4710, "new": True}))
            if not pid:
                writer.write(encode({"type": "started", "pid": 4711, "time": 5}))
            writer.write(encode({"type": "unheard of"}))
            writer.write(encode({"type": "exited", "exit_code": 4, "signal": 0, "time": 6}))
            writer.close()

        old = Path.cwd()
        os.chdir(run_dir)
        server = await asyncio.start_unix_server(shim, "shim.sock")
        os.chdir(old)
        task = await runtime.native.adopt(ID, str(run_dir))
        assert isinstance(task, NativeTask)
        assert (task.pid, task.shim_pid, task.started_at) == (4711, 4710, 5)
        assert await task.exited == Exit(4, 6)
        server.close()
        await server.wait_closed()

    async def test_a_shim_that_goes_away_instead_of_starting_leaves_nothing_known(
        self, runtime: Runtime, run_dir: Path
    ) -> None:
        async def shim(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(encode({"type": "hello", "id": ID, "pid": 0, "shim_pid": 4710}))
            writer.close()

        old = Path.cwd()
        os.chdir(run_dir)
        server = await asyncio.start_unix_server(shim, "shim.sock")
        os.chdir(old)
        assert await runtime.native.adopt(ID, str(run_dir)) is None
        server.close()
        await server.wait_closed()
        with suppress(FileNotFoundError):
            (run_dir / "shim.sock").unlink()
