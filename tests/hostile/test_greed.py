"""Containers that want everything: processes, output, memory, names, the engine's attention."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.archives import member
from support.attacker import TOOLS, Attacker, Outcome, python_words
from support.daemon import Daemon

pytestmark = pytest.mark.root

Python = Callable[..., Outcome]
MIB = 1 << 20


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def stream(daemon: Daemon, method: str, path: str) -> socket.socket:
    """Open a streaming answer, of which only the head is read."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(str(daemon.socket))
    sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    assert b" 200 " in sock.recv(40)
    return sock


def test_a_fork_bomb_ends_at_its_limit(attacker: Attacker, python: Python) -> None:
    bomb = "import os, time\nwhile True:\n  try: os.fork()\n  except OSError: time.sleep(0.01)"
    host = attacker.with_tools({"PidsLimit": 40})
    container = attacker.start(TOOLS, *python_words(bomb), host=host)
    daemon = attacker.daemon
    path = f"/containers/{container}"
    until(lambda: len(daemon.json("GET", f"{path}/top")["Processes"]) == 40)
    for call in ("json", "stats?stream=0&one-shot=1", "logs?stdout=1"):
        assert daemon.request("GET", f"{path}/{call}")[0] == 200
    forks = attacker.exec(container, *python_words("import os; os.fork()"))
    assert "Resource temporarily unavailable" in forks.output, forks
    assert attacker.shell("echo beside").output == "beside\n"
    assert daemon.request("DELETE", f"{path}?force=1")[0] == 204


def test_readers_that_stop_neither_stop_a_container_nor_grow_the_engine(attacker: Attacker) -> None:
    """Attach, logs, stats and events that nobody reads, beside a container that floods both of its streams."""
    daemon = attacker.daemon
    script = "while :; do head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; echo >> /done; done"
    log = {"Type": "json-file", "Config": {"max-size": "2m", "max-file": "2"}}
    before = resident(daemon.pid)
    container = attacker.start("busybox", "sh", "-c", script, host={"LogConfig": log})
    path = f"/containers/{container}"
    state = daemon.json("GET", f"{path}/json")["State"]["Pid"]
    shim = int(Path(f"/proc/{state}/status").read_text().partition("PPid:\t")[2].split()[0])
    done = Path(f"/proc/{state}/root/done")
    readers = [
        stream(daemon, "POST", f"{path}/attach?stream=1&stdout=1&stderr=1"),
        stream(daemon, "POST", f"{path}/attach?stream=1&logs=1&stdout=1"),
        stream(daemon, "GET", f"{path}/logs?follow=1&stdout=1&stderr=1"),
        stream(daemon, "GET", f"{path}/stats"),
        stream(daemon, "GET", "/events"),
    ]
    start = done.stat().st_size if done.exists() else 0
    until(lambda: done.exists() and done.stat().st_size > start + 60)
    assert daemon.answers()
    assert resident(daemon.pid) - before < 32 * MIB
    assert resident(shim) < 64 * MIB
    journal = daemon.data_root / "containers" / container / "log"
    assert sum(file.stat().st_size for file in journal.iterdir()) < 8 * MIB
    daemon.request("DELETE", f"{path}?force=1")
    for reader in readers:
        reader.close()


def test_a_client_that_sends_without_end_to_a_container_that_does_not_read(attacker: Attacker) -> None:
    daemon = attacker.daemon
    container = attacker.start("busybox", "sleep", "1000", OpenStdin=True, AttachStdin=True)
    before = resident(daemon.pid)
    with stream(daemon, "POST", f"/containers/{container}/attach?stream=1&stdin=1&stdout=1") as sock:
        sock.settimeout(1)
        with pytest.raises(TimeoutError):
            sock.sendall(b"x" * 32 * MIB)
    assert resident(daemon.pid) - before < 16 * MIB
    assert attacker.exec(container, "true").code == 0


def test_execs_that_race_with_the_end_of_the_container_end(attacker: Attacker) -> None:
    for script in ("exit 3", "sleep 0.05", "kill -9 -1; sleep 0.03"):
        container = attacker.start("busybox", "sh", "-c", f"sleep 0.1; {script}")
        with ThreadPoolExecutor(4) as pool:
            outcomes = list(pool.map(lambda _, id=container: attacker.exec(id, "sleep", "1000"), range(12)))
        assert all(outcome.code != 0 for outcome in outcomes), outcomes
        attacker.daemon.json("POST", f"/containers/{container}/wait")
        assert not attacker.daemon.json("GET", f"/containers/{container}/json")["State"]["Running"]


def test_an_init_that_kills_whoever_enters_harms_itself_alone(attacker: Attacker) -> None:
    """The first process sends signals to every process that it sees, entering ones among them."""
    container = attacker.start(
        "busybox", "sh", "-c", "while :; do kill -9 -1 2>/dev/null; kill -STOP -1 2>/dev/null; done"
    )
    outcomes = [attacker.exec(container, "true") for _ in range(6)]
    assert all(outcome.code is not None for outcome in outcomes)
    assert attacker.daemon.json("GET", f"/containers/{container}/json")["State"]["Running"]


def test_names_of_processes_are_data(attacker: Attacker, python: Python) -> None:
    """`top` shows what a process calls itself; it makes no rows and no columns."""
    script = "import ctypes, time\nctypes.CDLL(None).prctl(15, b'a\\nroot 1 2 3', 0, 0, 0)\ntime.sleep(1000)"
    words = python_words(script, "x\ny", "root 1 1 0 00:00 ? 00:00:00 evil\n")
    container = attacker.start(TOOLS, *words, host=attacker.with_tools())
    for arguments in ("", "?ps_args=-eo%20pid,comm", "?ps_args=aux"):
        table = attacker.daemon.json("GET", f"/containers/{container}/top{arguments}")
        assert len(table["Processes"]) == 1, table
        assert {len(row) for row in table["Processes"]} == {len(table["Titles"])}


def test_trees_without_end_are_removed(attacker: Attacker, python: Python) -> None:
    """Names of 255 bytes, depths beyond any path, links to nowhere, attributes and modes that forbid."""
    script = """
import os
os.chdir("/v")
for depth in range(1200):
    os.mkdir("d" * 250); os.chdir("d" * 250)
for number in range(300):
    os.symlink("/" + "x" * 4000, bytes([200]) * 240 + b"\\n" + str(number).encode())
os.mkdir("locked", 0); os.mkfifo("fifo"); os.mknod("node", 0o20666, os.makedev(1, 5))
"""
    assert python(script).code == 0
    container = attacker.start(
        TOOLS, *python_words(script + "import time; time.sleep(1000)"), host=attacker.with_tools()
    )
    until(lambda: attacker.exec(container, *python_words("import os; os.stat('/v/' + 'd' * 250)")).code == 0)
    assert attacker.daemon.request("GET", f"/containers/{container}/changes")[0] == 200
    assert attacker.daemon.request("GET", f"/containers/{container}/json?size=1")[0] == 200


def test_memory_without_end_is_the_containers_own_end(attacker: Attacker) -> None:
    host = {"Memory": 16 * MIB, "MemorySwap": 16 * MIB}
    status, answer = attacker.create("busybox", "sh", "-c", "x=a; while :; do x=$x$x; done", host=host)
    assert status == 201
    path = f"/containers/{answer['Id']}"
    attacker.daemon.json("POST", f"{path}/start")
    assert attacker.daemon.json("POST", f"{path}/wait")["StatusCode"] == 137
    assert attacker.daemon.json("GET", f"{path}/json")["State"]["OOMKilled"]


def test_a_command_line_of_megabytes_is_told_by_the_kernel(attacker: Attacker) -> None:
    assert attacker.run("busybox", "echo", "x" * (2 * MIB)).code != 0
    assert attacker.run("busybox", "echo", *["x" * 100] * 5000).code == 0
    assert attacker.run("busybox", "true", Env=["A=" + "x" * (2 * MIB)]).code != 0


@pytest.mark.parametrize("program", [b"", b"#!", b"#!/x\n", b"\x7fELF", b"#!" + b"/a" * 500, b"\0" * 100])
def test_programs_that_are_none_fail_alone(attacker: Attacker, program: bytes) -> None:
    image = attacker.image(member("evil", program, mode=0o755))
    assert attacker.run(image, "/evil").code != 0
    container = attacker.start(image, "/bin/busybox", "sleep", "1000")
    assert attacker.exec(container, "/evil").code != 0
    assert attacker.exec(container, "/bin/busybox", "true").code == 0
