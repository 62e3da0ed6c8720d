"""Containers under real launchers and shims, and what is left when one of the processes is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from orlop.errors import Conflict, StartFailed
from orlop.runtime.runtime import ExecRequest, Exit, Stdio
from orlop.runtime.task import NativeTask
from support.runtime_lab import BUSYBOX, Lab, attach_pair, read_all, read_until

pytestmark = pytest.mark.root


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if not BUSYBOX.exists():
        pytest.skip("needs a static busybox")
    lab = Lab(tmp_path)
    await lab.open()
    yield lab
    await lab.close()


async def test_a_container_runs_to_its_end_and_its_output_and_status_are_kept(lab: Lab) -> None:
    exit, output = await lab.run("/bin/sh", "-c", "echo out; echo err >&2; exit 3")
    assert (exit.code, exit.oom_killed, exit.error) == (3, False, "")
    assert output == b"out\nerr\n"
    assert abs(exit.time - time.time_ns()) < 60e9
    adopted = await lab.runtime.adopt(lab.ids[0], lab.run_dir(lab.ids[0]))
    assert adopted == exit


async def test_a_missing_program_is_127_and_an_unexecutable_one_126(lab: Lab) -> None:
    for command, code in (("/no/such", 127), ("/etc/passwd", 126)):
        with pytest.raises(StartFailed) as failure:
            await lab.runtime.launch(lab.launch(command))
        assert failure.value.exit_code == code
    assert lab.processes() == []


async def test_many_starts_side_by_side(lab: Lab) -> None:
    results = await asyncio.gather(*(lab.run("/bin/sh", "-c", f"echo {n}; exit {n}") for n in range(12)))
    assert [(exit.code, output) for exit, output in results] == [(n, b"%d\n" % n) for n in range(12)]


async def test_each_of_many_very_short_containers_ends_as_it_did_and_leaves_no_word_of_its_run(lab: Lab) -> None:
    clients = asyncio.Semaphore(8)

    async def run(number: int) -> tuple[int, str, bytes]:
        async with clients:
            tty = number % 2 == 1
            client, attach = attach_pair(str(number)) if number % 4 < 2 else (None, None)
            launch = lab.launch("/bin/echo", str(number), tty=tty, attaches=(attach,) if attach else ())
            task = await lab.runtime.launch(launch)
            seen = await read_all(client) if client is not None else b""
            exit = await task.exited
            assert client is None or seen.split() == [b"%d" % number]
            return exit.code, exit.error, (await lab.output(task.id)).strip()

    results = await asyncio.gather(*(run(number) for number in range(200)))
    assert results == [(0, "", b"%d" % number) for number in range(200)]
    assert list(lab.root.glob("c/*/shim-error.txt")) == []


async def test_the_network_is_connected_before_the_program_runs(lab: Lab) -> None:
    lab.listener.hold = asyncio.Event()
    start = asyncio.create_task(lab.runtime.launch(lab.launch("/bin/true", network=True)))
    await lab.listener.asked.wait()
    await asyncio.sleep(0.05)
    assert not start.done()
    lab.listener.hold.set()
    assert (await (await start).exited).code == 0


async def test_a_cancelled_start_leaves_nothing(lab: Lab) -> None:
    lab.listener.hold = asyncio.Event()
    start = asyncio.create_task(lab.runtime.launch(lab.launch("/bin/sleep", "1000", network=True)))
    await lab.listener.asked.wait()
    start.cancel()
    lab.listener.hold.set()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert lab.processes() == []
    assert lab.listener.told == []


async def test_signals_reach_the_first_process(lab: Lab) -> None:
    launch = lab.launch("/bin/sh", "-c", "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done")
    task = await lab.runtime.launch(launch)
    await lab.wait_output(task, b"ready")
    await task.signal(signal.SIGTERM)
    assert (await task.exited).code == 9
    task = await lab.runtime.launch(lab.launch("/bin/sleep", "1000"))
    await task.signal(signal.SIGKILL)
    assert (await task.exited).code == 137


async def test_attach_before_the_start_loses_nothing_and_closes_at_the_end(lab: Lab) -> None:
    client, attach = attach_pair("a")
    client.sendall(b"early input\n")
    client.shutdown(1)
    launch = lab.launch("/bin/cat", stdin=True, stdin_once=True, attaches=(attach,))
    task = await lab.runtime.launch(launch)
    assert await read_all(client) == b"early input\n"
    assert (await task.exited).code == 0


async def test_a_terminal_is_resized_and_detached_from(lab: Lab) -> None:
    client, attach = attach_pair("t")
    task = await lab.runtime.launch(lab.launch("/bin/sh", tty=True, stdin=True, attaches=(attach,)))
    await task.resize(31, 97)
    client.sendall(b"stty size\n")
    assert b"31 97" in await read_until(client, b"31 97")
    client.sendall(b"\x10\x11")
    await read_all(client)
    await lab.hear("detached", "t")
    again, attach = attach_pair("u")
    await task.attach(attach)
    again.sendall(b"exit 5\n")
    await read_all(again)
    assert (await task.exited).code == 5


async def test_further_processes_run_and_their_ends_are_told(lab: Lab) -> None:
    launch = lab.launch("/bin/sleep", "1000")
    task = await lab.runtime.launch(launch)
    client, attach = attach_pair("x")
    process = {**launch.spec["process"], "args": ["/bin/sh", "-c", "cat; exit 4"]}
    pid = await task.exec(ExecRequest("e1", process, Stdio(stdin=True, stdin_once=True), launch.seccomp, attach))
    assert pid > 0
    client.sendall(b"hi")
    client.shutdown(1)
    assert await read_all(client) == b"hi"
    with pytest.raises(StartFailed) as failure:
        await task.exec(ExecRequest("e2", {**process, "args": ["/nope"]}, Stdio()))
    assert failure.value.exit_code == 127
    await lab.hear("exec_exited", "e1", "4")
    await task.signal(signal.SIGKILL)
    await task.exited
    with pytest.raises(Conflict):
        await task.exec(ExecRequest("e3", process, Stdio()))


async def test_kill_9_of_the_launcher_disturbs_neither_the_running_nor_the_starting(lab: Lab) -> None:
    running = await lab.runtime.launch(lab.launch("/bin/sleep", "1000"))
    starts = [asyncio.create_task(lab.runtime.launch(lab.launch("/bin/sleep", "1000"))) for _ in range(8)]
    for _ in range(3):
        await asyncio.sleep(0.004)
        launcher = lab.runtime._launcher
        if launcher is not None and launcher.alive:
            os.kill(launcher.pid, signal.SIGKILL)
            break
    tasks = await asyncio.gather(*starts)
    assert len(lab.processes()) == 9
    for task in (running, *tasks):
        await task.signal(signal.SIGKILL)
        assert (await task.exited).code == 137


async def test_kill_9_of_a_shim_ends_its_container_and_says_so(lab: Lab) -> None:
    launch = lab.launch("/bin/sh", "-c", "sleep 1000 & sleep 1000", user="user")
    task = await lab.runtime.launch(launch)
    os.kill(task.shim_pid, signal.SIGKILL)
    exit = await task.exited
    assert (exit.code, exit.error) == (137, "shim died")
    await gone(lab)
    assert ("exited", task.id) in lab.listener.told


async def test_kill_9_of_a_shim_in_the_middle_of_a_start_fails_the_start(lab: Lab) -> None:
    lab.listener.hold = asyncio.Event()
    start = asyncio.create_task(lab.runtime.launch(lab.launch("/bin/sleep", "1000", network=True)))
    await lab.listener.asked.wait()
    (shim, *_rest) = sorted(lab.shims())
    os.kill(shim, signal.SIGKILL)
    lab.listener.hold.set()
    with pytest.raises(StartFailed):
        await start
    await gone(lab)


async def gone(lab: Lab) -> None:
    for _ in range(250):
        if not lab.processes():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"still there: {lab.processes()}")


@pytest.mark.parametrize("attached", [False, True])
async def test_a_tied_container_ends_with_its_runtime_and_writes_nothing_down(lab: Lab, attached: bool) -> None:
    pairs = [attach_pair("1")] if attached else []
    attaches = tuple(attach for _, attach in pairs)
    launch = lab.launch("/bin/sh", "-c", "sleep 1000 & sleep 1000", attaches=attaches)
    task = await lab.runtime.launch(replace(launch, tied=True))
    assert len(lab.processes()) > 0
    await lab.runtime.close()
    for _ in range(500):
        if not lab.processes() and not lab.shims():
            break
        await asyncio.sleep(0.01)
    assert not lab.processes()
    assert not task.exited.done()
    assert os.listdir(launch.run_dir) == []
    for client, _ in pairs:
        client.close()


async def test_a_running_container_is_adopted_with_its_streams_and_its_end(lab: Lab) -> None:
    launch = lab.launch("/bin/sh", "-c", "while read line; do echo got $line; done; exit 6", stdin=True)
    client, attach = attach_pair("a")
    first = await lab.runtime.launch(lab.launch("/bin/sleep", "1000"))
    second = await lab.runtime.launch(launch)
    await second.attach(attach)
    client.sendall(b"one\n")
    await read_until(client, b"got one")
    await lab.runtime.close()
    client.sendall(b"two\n")  # the client is the shim's: it does not notice
    await read_until(client, b"got two")

    await lab.open()
    adopted = await lab.runtime.adopt(second.id, launch.run_dir)
    assert isinstance(adopted, NativeTask)
    assert (adopted.pid, adopted.shim_pid, adopted.started_at) == (second.pid, second.shim_pid, second.started_at)
    again, attach = attach_pair("b", logs=True)
    await adopted.attach(attach)
    assert b"got one\ngot two\n" in await read_until(again, b"got two")
    again.close()
    client.close()
    other = await lab.runtime.adopt(first.id, lab.run_dir(first.id))
    assert isinstance(other, NativeTask)
    for task in (adopted, other):
        await task.signal(signal.SIGKILL)
        assert (await task.exited).code == 137


async def test_what_ended_while_no_daemon_was_there_is_known_truly(lab: Lab) -> None:
    ended = await lab.runtime.launch(lab.launch("/bin/sh", "-c", "sleep 0.2; exit 8"))
    killed = await lab.runtime.launch(lab.launch("/bin/sleep", "1000"))
    await lab.runtime.close()
    os.kill(killed.shim_pid, signal.SIGKILL)
    await asyncio.sleep(0.5)
    await lab.open()
    exit = await lab.runtime.adopt(ended.id, lab.run_dir(ended.id))
    assert isinstance(exit, Exit)
    assert exit.code == 8
    exit = await lab.runtime.adopt(killed.id, lab.run_dir(killed.id))
    assert isinstance(exit, Exit)
    assert (exit.code, exit.error) == (137, "shim died")
    assert lab.processes() == []


DAEMON = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from support.runtime_lab import Lab

async def main():
    lab = Lab(Path(sys.argv[1]))
    lab.name = sys.argv[3]
    await lab.open()
    launches = [lab.launch("/bin/sleep", "1000", container_id=f"{n:012x}" + "0" * 52, network=n % 2) for n in range(10)]
    print("go", flush=True)
    await asyncio.gather(*(lab.runtime.launch(launch) for launch in launches))
    print("all", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.08, None])
async def test_kill_9_of_the_daemon_in_the_middle_of_starts_leaves_each_running_or_not_there(
    lab: Lab, tmp_path: Path, delay: float | None
) -> None:
    root = tmp_path / "other"
    root.mkdir()
    command = [sys.executable, "-c", DAEMON, str(root), str(Path(__file__).parent.parent), lab.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:  # noqa: ASYNC220
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "go\n"
        if delay is None:
            assert daemon.stdout.readline() == "all\n"
        else:
            await asyncio.sleep(delay)
        daemon.kill()
    ids = [f"{n:012x}" + "0" * 52 for n in range(10)]
    lab.ids += ids
    await lab.runtime.close()
    lab.root = root
    await lab.open()
    found = [await lab.runtime.adopt(container_id, str(root / "c" / container_id[:12])) for container_id in ids]
    tasks = [task for task in found if isinstance(task, NativeTask)]
    assert len(tasks) == 10 or delay is not None
    assert all(task is None or isinstance(task, NativeTask) for task in found)
    for task in tasks:
        await task.signal(signal.SIGKILL)
        assert (await task.exited).code == 137
