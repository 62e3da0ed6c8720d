"""Kill -9 at any moment: containers run on, nothing is lost, nothing goes on unseen."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orlop.linux import cgroup
from support.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

Factory = Callable[..., Daemon]


@pytest.fixture
def victim(daemon: Factory, image_archive: Path) -> Daemon:
    """A daemon with the base image, to be killed."""
    instance = daemon()
    instance.load(image_archive)
    return instance


def test_a_container_runs_on_and_its_log_is_whole_when_the_daemon_is_killed(victim: Daemon) -> None:
    script = "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); sleep 0.01; done"
    victim.cli("docker", "run", "-d", "--name", "writer", "busybox", "sh", "-c", script)
    time.sleep(0.5)
    victim.kill()
    time.sleep(0.5)
    victim.start()
    assert _state(victim, "writer")["Status"] == "running"
    assert victim.cli("docker", "wait", "writer", timeout=30).stdout == "0\n"
    assert victim.cli("docker", "logs", "writer").stdout.split("\n")[:-1] == [f"line {i}" for i in range(400)]


def test_the_true_exit_status_is_known_of_a_container_that_ended_meanwhile(victim: Daemon) -> None:
    victim.cli("docker", "run", "-d", "--name", "short", "-v", "data:/v", "busybox", "sh", "-c", "sleep 0.5; exit 42")
    victim.cli("docker", "run", "-d", "--rm", "--name", "gone", "busybox", "sleep", "0.5")
    since = f"{time.time():.9f}"
    victim.kill()
    time.sleep(1.5)
    victim.start()
    state = _state(victim, "short")
    assert (state["Status"], state["ExitCode"]) == ("exited", 42)
    _until(lambda: victim.cli("docker", "ps", "-aq", "--filter", "name=gone").stdout == "")
    told = victim.cli("docker", "events", "--since", since, "--until", f"{time.time():.9f}", "--format", "{{json .}}")
    events = [json.loads(line) for line in told.stdout.splitlines()]
    died = [event for event in events if event["Action"] == "die"]
    assert {event["Actor"]["Attributes"]["name"]: event["Actor"]["Attributes"]["exitCode"] for event in died} == {
        "short": "42",
        "gone": "0",
    }
    identity = _identity(victim, "short")
    assert [event["Action"] for event in events if event["Actor"]["Attributes"].get("container") == identity] == [
        "disconnect",
        "unmount",
    ]


def test_a_removal_that_was_cut_off_behind_the_end_is_finished_without_a_second_death(victim: Daemon) -> None:
    victim.cli("docker", "run", "--name", "ended", "busybox", "sh", "-c", "exit 3", check=False)
    victim.stop()
    with contextlib.closing(sqlite3.connect(victim.data_root / "orlop.db")) as store, store:
        changed = 'replace(record, \'"status":"exited"\', \'"status":"removing"\')'
        store.execute(f"UPDATE containers SET record = CAST({changed} AS BLOB)")
    since = f"{time.time():.9f}"
    victim.start()
    _until(lambda: victim.cli("docker", "ps", "-aq").stdout == "")
    told = victim.cli("docker", "events", "--since", since, "--until", f"{time.time():.9f}", "--format", "{{.Action}}")
    assert told.stdout == "destroy\n"


def test_a_failure_meanwhile_is_followed_by_a_restart_that_counts(victim: Daemon) -> None:
    script = "echo begun; sleep 0.5; exit 3"
    victim.cli("docker", "run", "-d", "--name", "failing", "--restart", "on-failure:2", "busybox", "sh", "-c", script)
    victim.kill()
    time.sleep(1)
    victim.start()
    _until(lambda: _state(victim, "failing")["Status"] == "exited")
    assert victim.cli("docker", "inspect", "-f", "{{.RestartCount}}", "failing").stdout == "2\n"
    assert victim.cli("docker", "logs", "failing").stdout == "begun\n" * 3
    victim.cli("docker", "rm", "failing")


def test_an_attached_client_stays_attached_while_the_daemon_is_replaced(victim: Daemon) -> None:
    body = {"Image": "busybox", "Cmd": ["cat"], "OpenStdin": True, "StdinOnce": True}
    victim.json("POST", "/containers/create?name=talk", body)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(victim.socket))
        client.sendall(
            b"POST /containers/talk/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\n"
            b"Host: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
        )
        stream = client.makefile("rb")
        assert b" 101 " in stream.readline()
        while stream.readline().strip():
            pass
        victim.json("POST", "/containers/talk/start")

        def answer(text: bytes) -> bytes:
            client.sendall(text)
            header = stream.read(8)
            return stream.read(int.from_bytes(header[4:], "big"))

        assert answer(b"before\n") == b"before\n"
        victim.kill()
        assert answer(b"without a daemon\n") == b"without a daemon\n"
        victim.start()
        assert answer(b"after\n") == b"after\n"
        client.shutdown(socket.SHUT_WR)
        assert stream.read() == b""
        stream.close()
    assert victim.json("POST", "/containers/talk/wait") == {"StatusCode": 0}
    victim.json("DELETE", "/containers/talk")


def test_a_paused_container_is_still_paused_and_ports_still_answer(victim: Daemon) -> None:
    victim.cli("docker", "run", "-d", "--name", "frozen", "busybox", "sleep", "1000")
    victim.cli("docker", "run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c",
               "echo served > /index.html; exec httpd -f -p 80 -h /")  # fmt: skip
    victim.cli("docker", "pause", "frozen")
    victim.kill()
    _until(lambda: _fetch(victim) == "served\n")
    victim.start()
    assert _state(victim, "frozen")["Status"] == "paused"
    assert _fetch(victim) == "served\n"
    assert victim.cli("docker", "port", "web", "80").stdout.splitlines()[0] == "0.0.0.0:8080"
    victim.cli("docker", "unpause", "frozen")
    victim.cli("docker", "rm", "-f", "frozen", "web")


def test_a_pause_or_unpause_that_was_cut_off_is_what_the_kernel_says(victim: Daemon) -> None:
    for name in ("cold", "warm"):
        victim.cli("docker", "run", "-d", "--name", name, "busybox", "sleep", "1000")
    cgroups = {name: f"/orlop-{victim.instance}/{_identity(victim, name)}" for name in ("cold", "warm")}
    victim.cli("docker", "pause", "warm")
    since = f"{time.time():.9f}"
    victim.kill()
    cgroup.open_cgroup(cgroups["cold"]).freeze()
    cgroup.open_cgroup(cgroups["warm"]).thaw()
    victim.start()
    assert [_state(victim, name)["Status"] for name in ("cold", "warm")] == ["paused", "running"]
    told = victim.cli("docker", "events", "--since", since, "--until", f"{time.time():.9f}",
                      "--format", "{{.Action}} {{.Actor.Attributes.name}}")  # fmt: skip
    assert set(told.stdout.splitlines()) == {"pause cold", "unpause warm"}
    victim.cli("docker", "unpause", "cold")
    assert victim.cli("docker", "exec", "cold", "echo", "alive").stdout == "alive\n"


@pytest.mark.slow
def test_kills_in_the_middle_of_pauses_leave_no_container_frozen_that_is_said_to_run(victim: Daemon) -> None:
    names = [f"p{number}" for number in range(4)]
    for name in names:
        victim.cli("docker", "run", "-d", "--name", name, "busybox", "sh", "-c", "while :; do sleep 0.001; done")

    def pause(name: str) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                victim.request("POST", f"/containers/{name}/pause")
                victim.request("POST", f"/containers/{name}/unpause")

    for round_ in range(6):
        clients = [threading.Thread(target=pause, args=(name,)) for name in names]
        for client in clients:
            client.start()
        time.sleep(0.1 + 0.013 * round_)
        victim.kill()
        for client in clients:
            client.join()
        victim.start()
        for name in names:
            frozen = cgroup.open_cgroup(f"/orlop-{victim.instance}/{_identity(victim, name)}").frozen()
            assert _state(victim, name)["Status"] == ("paused" if frozen else "running")


def test_a_killed_launcher_is_replaced(victim: Daemon) -> None:
    victim.cli("docker", "run", "-d", "--name", "first", "busybox", "sleep", "1000")
    for pid in _launchers(victim):
        os.kill(pid, signal.SIGKILL)
    assert victim.cli("docker", "run", "--rm", "busybox", "echo", "second").stdout == "second\n"
    assert _state(victim, "first")["Status"] == "running"


def test_a_killed_shim_takes_its_container_along_and_is_reported(victim: Daemon) -> None:
    identity = victim.cli("docker", "run", "-d", "--name", "orphan", "busybox", "sleep", "1000").stdout.strip()
    pid = _state(victim, "orphan")["Pid"]
    state = json.loads((victim.exec_root / "c" / identity[:12] / "state.json").read_text())
    os.kill(state["shim_pid"], signal.SIGKILL)
    assert victim.cli("docker", "wait", "orphan", timeout=20).stdout == "137\n"
    _until(lambda: not Path(f"/proc/{pid}").exists())


def test_a_shim_killed_while_no_daemon_runs_is_found_out(victim: Daemon) -> None:
    identity = victim.cli("docker", "run", "-d", "--name", "orphan", "busybox", "sleep", "1000").stdout.strip()
    pid = _state(victim, "orphan")["Pid"]
    shim = json.loads((victim.exec_root / "c" / identity[:12] / "state.json").read_text())["shim_pid"]
    victim.kill()
    os.kill(shim, signal.SIGKILL)
    _until(lambda: not Path(f"/proc/{pid}").exists())
    victim.start()
    assert (_state(victim, "orphan")["Status"], _state(victim, "orphan")["ExitCode"]) == ("exited", 137)


def test_a_shim_that_hangs_is_killed_with_its_container_and_the_others_are_taken_back(victim: Daemon) -> None:
    victim.cli("docker", "run", "-d", "--name", "good", "busybox", "sleep", "1000")
    identity = victim.cli("docker", "run", "-d", "--name", "hung", "busybox", "sleep", "1000").stdout.strip()
    pid = _state(victim, "hung")["Pid"]
    shim = json.loads((victim.exec_root / "c" / identity[:12] / "state.json").read_text())["shim_pid"]
    victim.kill()
    os.kill(shim, signal.SIGSTOP)
    victim.start()
    assert (_state(victim, "hung")["Status"], _state(victim, "hung")["ExitCode"]) == ("exited", 137)
    _until(lambda: not Path(f"/proc/{pid}").exists())
    assert f"the shim of container {identity[:12]} does not answer" in victim.log_tail()
    assert victim.cli("docker", "exec", "good", "echo", "alive").stdout == "alive\n"
    assert victim.cli("docker", "start", "hung").stdout == "hung\n"


def test_containers_that_join_or_are_linked_to_others_are_started_after_them(victim: Daemon) -> None:
    always = ("run", "-d", "--restart", "always")
    sleep = ("busybox", "sleep", "1000")
    victim.cli("docker", *always, "--name", "owner", "--ipc", "shareable", *sleep)
    victim.cli(
        "docker", *always, "--name", "joined", "--network", "container:owner", "--ipc", "container:owner", *sleep
    )
    victim.cli("docker", *always, "--name", "guest", "--pid", "container:joined", *sleep)
    victim.cli("docker", *always, "--name", "linked", "--link", "owner:alias", *sleep)
    victim.cli("docker", "kill", "owner", "joined", "guest", "linked")
    victim.restart()
    for name in ("owner", "joined", "guest", "linked"):
        _until(lambda name=name: _state(victim, name)["Status"] == "running")  # type: ignore[misc]
    assert _namespace(victim, "joined", "net") == _namespace(victim, "owner", "net")
    assert _namespace(victim, "guest", "pid") == _namespace(victim, "joined", "pid")


def test_containers_that_join_each_other_in_a_circle_get_an_error_and_hold_up_nobody(victim: Daemon) -> None:
    always = ("run", "-d", "--restart", "always")
    sleep = ("busybox", "sleep", "1000")
    victim.cli("docker", *always, "--name", "first", *sleep)
    victim.cli("docker", *always, "--name", "second", "--network", "container:first", *sleep)
    victim.cli("docker", "rm", "-f", "first")
    victim.cli("docker", *always, "--name", "first", "--network", "container:second", *sleep)
    victim.cli("docker", *always, "--name", "third", "--network", "container:second", *sleep)
    victim.cli("docker", *always, "--name", "other", *sleep)
    _end_without_daemon(victim)
    victim.start()
    _until(lambda: _state(victim, "other")["Status"] == "running")
    for name in ("first", "second"):
        assert "in a circle: first, second" in str(_state(victim, name)["Error"])
    _until(lambda: "second is not running" in str(_state(victim, "third")["Error"]))
    assert {_state(victim, name)["Status"] for name in ("first", "second")} == {"exited"}


def test_state_of_another_boot_is_not_believed(victim: Daemon) -> None:
    identity = victim.cli("docker", "run", "-d", "--name", "old", "busybox", "sleep", "1000").stdout.strip()
    victim.cli("docker", "kill", "old")
    victim.cli("docker", "start", "old")
    victim.stop()
    directory = victim.exec_root / "c" / identity[:12]
    state = json.loads((directory / "state.json").read_text())
    os.kill(state["shim_pid"], signal.SIGKILL)
    (directory / "state.json").write_text(json.dumps(state | {"boot_id": "another"}))
    victim.start()
    assert (_state(victim, "old")["Status"], _state(victim, "old")["Pid"]) == ("exited", 0)
    assert victim.cli("docker", "start", "old").stdout == "old\n"


@pytest.mark.slow
def test_kills_in_the_middle_of_starts_leave_no_half_started_container(victim: Daemon) -> None:
    for round_ in range(6):
        clients = [
            threading.Thread(
                target=lambda name: victim.cli(
                    "docker", "run", "-d", "--name", name, "busybox", "sleep", "1000", check=False
                ),
                args=(f"c{round_}-{number}",),
            )
            for number in range(4)
        ]
        for client in clients:
            client.start()
        time.sleep(0.05 + 0.05 * round_)
        victim.kill()
        for client in clients:
            client.join()
        victim.start()
        for line in victim.cli("docker", "ps", "-a", "--format", "{{.Names}} {{.State}}").stdout.splitlines():
            name, state = line.split()
            assert state in ("running", "created"), line
            if state == "running":
                assert victim.cli("docker", "exec", name, "echo", "alive").stdout == "alive\n"
                assert Path(f"/proc/{_state(victim, name)['Pid']}").exists()
            else:
                victim.cli("docker", "start", name)
        names = victim.cli("docker", "ps", "-aq").stdout.split()
        if names:
            victim.cli("docker", "rm", "-f", *names)
        _until(lambda: not list((victim.exec_root / "c").iterdir()))
        assert not [path for parent in victim.cgroup_parents() for path in parent.iterdir() if path.is_dir()]


def _end_without_daemon(daemon: Daemon) -> None:
    """Kill the daemon and then every container."""
    daemon.kill()
    for file in (daemon.exec_root / "c").glob("*/state.json"):
        state = json.loads(file.read_text())
        os.kill(state["shim_pid"], signal.SIGKILL)
        _until(lambda pid=state["pid"]: not Path(f"/proc/{pid}").exists())  # type: ignore[misc]


def _identity(daemon: Daemon, name: str) -> str:
    identity: str = daemon.json("GET", f"/containers/{name}/json")["Id"]
    return identity


def _namespace(daemon: Daemon, name: str, kind: str) -> str:
    return os.readlink(f"/proc/{_state(daemon, name)['Pid']}/ns/{kind}")


def _state(daemon: Daemon, name: str) -> dict[str, object]:
    state: dict[str, object] = daemon.json("GET", f"/containers/{name}/json")["State"]
    return state


def _launchers(daemon: Daemon) -> list[int]:
    found = []
    for pid in daemon.netns.processes():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        if b"orlop.shim.launcher" in words and parent == daemon.pid:
            found.append(pid)
    assert found, "no launcher is a child of the daemon"
    return found


def _fetch(daemon: Daemon) -> str:
    command = daemon.netns.command("wget", "-q", "-T", "5", "-O", "-", "http://127.0.0.1:8080/index.html")
    return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout


def _until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
