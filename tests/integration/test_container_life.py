"""A container's life when things cross: removal during a stop, a start right behind an end, a full disk."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support.daemon import Daemon
from support.netns import NetworkNamespace

pytestmark = pytest.mark.root

IGNORES_TERM = "trap 'echo ignored' TERM; echo ready; while :; do sleep 0.05; done"
ENDS_BY_SIGNAL = "trap 'exit 7' TERM HUP; echo ready; while :; do sleep 0.05; done"


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def run(daemon: Daemon, script: str, **host: object) -> str:
    """Start a container and wait until it says that it is ready."""
    body = {"Image": "busybox", "Cmd": ["sh", "-c", script], "HostConfig": host}
    created = str(daemon.json("POST", "/containers/create", body)["Id"])
    assert daemon.request("POST", f"/containers/{created}/start")[0] == 204
    await_output(daemon, created, b"ready")
    return created


def await_output(daemon: Daemon, container: str, text: bytes) -> None:
    def written() -> bool:
        return text in daemon.request("GET", f"/containers/{container}/logs?stdout=1")[1]

    eventually(written, f"{text!r} is not written")


def inspect(daemon: Daemon, container: str) -> dict[str, Any]:
    found: dict[str, Any] = daemon.json("GET", f"/containers/{container}/json")
    return found


def tasks(daemon: Daemon) -> str:
    """Return what the daemon's tasks are doing (SIGUSR1)."""
    os.kill(daemon.pid, signal.SIGUSR1)
    eventually(lambda: b"stacks written" in daemon.log.read_bytes(), "no stacks are written")
    (path,) = daemon.exec_root.glob("stacks-*")
    return path.read_text()


@contextlib.contextmanager
def deaths(daemon: Daemon, container: str) -> Iterator[Callable[[], None]]:
    """Give a function that returns when the container's next end is published."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(daemon.socket))
        query = '{"event":["die"],"container":["' + container + '"]}'
        client.sendall(f"GET /events?filters={query} HTTP/1.1\r\nHost: d\r\n\r\n".encode())
        reader = client.makefile("rb")
        while reader.readline() != b"\r\n":
            pass

        def wait() -> None:
            while b'"die"' not in reader.readline():
                pass

        yield wait
        reader.close()


@pytest.mark.usefixtures("image")
class TestCrossing:
    def test_a_forced_removal_does_not_wait_for_a_stop_without_end(self, orlopd: Daemon) -> None:
        container = run(orlopd, IGNORES_TERM)
        stop = threading.Thread(target=orlopd.request, args=("POST", f"/containers/{container}/stop?t=-1"))
        stop.start()
        await_output(orlopd, container, b"ignored")
        assert orlopd.request("DELETE", f"/containers/{container}?force=1")[0] == 204
        stop.join(20)
        assert not stop.is_alive()
        assert orlopd.request("GET", f"/containers/{container}/json")[0] == 404

    def test_a_restart_that_waited_for_a_removal_starts_nothing(self, orlopd: Daemon) -> None:
        container = run(orlopd, IGNORES_TERM)
        answers: list[int] = []

        def restart() -> None:
            answers.append(orlopd.request("POST", f"/containers/{container}/restart?t=0")[0])

        threads = [threading.Thread(target=restart) for _ in range(3)]
        removal = threading.Thread(target=orlopd.request, args=("DELETE", f"/containers/{container}?force=1"))
        for thread in (threads[0], removal, *threads[1:]):
            thread.start()
        for thread in (removal, *threads):
            thread.join(30)
        assert set(answers) <= {204, 404}
        assert orlopd.request("GET", f"/containers/{container}/json")[0] == 404

    def test_who_waits_while_a_removal_kills_is_told_how_that_ended(self, orlopd: Daemon) -> None:
        container = run(orlopd, IGNORES_TERM)
        shim = json.loads((orlopd.exec_root / "c" / container[:12] / "state.json").read_text())["shim_pid"]
        os.kill(shim, signal.SIGSTOP)  # the kill takes as long as we like
        answers: list[bytes] = []

        def wait() -> None:
            answers.append(orlopd.request("POST", f"/containers/{container}/wait?condition=not-running")[1])

        removal = threading.Thread(target=orlopd.request, args=("DELETE", f"/containers/{container}?force=1"))
        removal.start()
        try:
            eventually(lambda: inspect(orlopd, container)["State"]["Status"] == "removing", "it is not being removed")
            waiter = threading.Thread(target=wait)
            waiter.start()
            waiter.join(0.3)
        finally:
            os.kill(shim, signal.SIGCONT)
        for thread in (removal, waiter):
            thread.join(20)
        assert [json.loads(answer)["StatusCode"] for answer in answers] == [137]

    def test_a_paused_container_is_removed_by_force(self, orlopd: Daemon) -> None:
        container = run(orlopd, IGNORES_TERM)
        orlopd.json("POST", f"/containers/{container}/pause")
        assert orlopd.request("DELETE", f"/containers/{container}?force=1")[0] == 204

    def test_a_start_right_behind_an_end_keeps_its_network_and_can_be_stopped(self, orlopd: Daemon) -> None:
        container = run(orlopd, "echo ready; sleep 0.02")
        with deaths(orlopd, container) as next_death:
            for _ in range(10):
                while orlopd.request("POST", f"/containers/{container}/start")[0] == 304:
                    pass
                found = inspect(orlopd, container)
                assert not found["State"]["Running"] or found["NetworkSettings"]["IPAddress"]
                next_death()
        orlopd.request("POST", f"/containers/{container}/stop")
        assert not inspect(orlopd, container)["State"]["Running"]

    def test_the_stop_signal_ends_a_restart_policy_and_another_signal_does_not(self, orlopd: Daemon) -> None:
        container = run(orlopd, ENDS_BY_SIGNAL, RestartPolicy={"Name": "always"})
        orlopd.json("POST", f"/containers/{container}/kill?signal=HUP")
        eventually(lambda: inspect(orlopd, container)["RestartCount"] == 1, "it was not restarted")
        eventually(lambda: inspect(orlopd, container)["State"]["Status"] == "running", "it does not run again")
        orlopd.json("POST", f"/containers/{container}/kill?signal=TERM")
        assert orlopd.request("POST", f"/containers/{container}/wait")[0] == 200
        assert inspect(orlopd, container)["State"]["Status"] == "exited"

    @pytest.mark.parametrize(
        ("method", "path", "expected"),
        [
            ("POST", "/restart", ["kill", "die", "stop", "start", "restart"]),
            ("DELETE", "?force=1", ["kill", "die", "destroy"]),
        ],
    )
    def test_each_step_is_told_once_and_in_order(
        self, orlopd: Daemon, method: str, path: str, expected: list[str]
    ) -> None:
        container = run(orlopd, ENDS_BY_SIGNAL)
        before = f"{time.time():.9f}"
        orlopd.json(method, f"/containers/{container}{path}")
        filters = quote(json.dumps({"container": [container]}))
        told = orlopd.request("GET", f"/events?since={before}&until={time.time():.9f}&filters={filters}")[1]
        assert [json.loads(line)["Action"] for line in told.splitlines()] == expected

    def test_an_exec_that_cannot_be_asked_for_has_ended(self, orlopd: Daemon) -> None:
        container = run(orlopd, IGNORES_TERM)
        made = orlopd.json("POST", f"/containers/{container}/exec", {"Cmd": ["true"], "Tty": True})["Id"]
        assert (
            orlopd.request("POST", f"/exec/{made}/start", {"Detach": True, "Tty": True, "ConsoleSize": [1]})[0] == 400
        )
        found = orlopd.json("GET", f"/exec/{made}/json")
        assert (found["Running"], found["CanRemove"], found["ExitCode"]) == (False, True, 126)


def test_readers_of_a_log_that_left_are_forgotten(daemon: Callable[..., Daemon], image_archive: Path) -> None:
    orlopd = daemon()
    orlopd.load(image_archive)
    container = run(orlopd, IGNORES_TERM)
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(orlopd.socket))
            client.sendall(f"GET /containers/{container}/logs?stdout=1&follow=1 HTTP/1.1\r\nHost: d\r\n\r\n".encode())
            assert client.recv(12) == b"HTTP/1.1 200"
    assert orlopd.answers()  # and has seen the clients go
    assert "end of the log" not in tasks(orlopd)


@pytest.fixture
def cramped(tmp_path: Path, netns: NetworkNamespace, image_archive: Path) -> Iterator[Daemon]:
    """A daemon with the base image and a disk of 24 MiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", tmp_path], check=True)
    instance = Daemon(tmp_path, netns)
    try:
        instance.start()
        instance.load(image_archive)
        yield instance
    finally:
        instance.close()
        subprocess.run(["umount", "--lazy", tmp_path], check=True)
    assert not netns.processes()


def fill(path: Path) -> None:
    """Write until not a byte more goes."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


def test_on_a_full_disk_what_is_new_fails_clearly_and_what_is_there_can_be_ended(cramped: Daemon) -> None:
    data = "head -c 200000 /dev/zero >/file; echo ready; sleep 1000"
    stopped, killed, removed = (run(cramped, data) for _ in range(3))
    cramped.json("POST", "/volumes/create", {"Name": "filled"})
    fill(cramped.root / "fill")
    for path, body in (
        ("/containers/create", {"Image": "busybox", "Cmd": ["true"]}),
        ("/volumes/create", {"Name": "more"}),
    ):
        status, answer = cramped.request("POST", path, body)
        assert (status, "no space left on device" in json.loads(answer)["message"].lower()) == (503, True), answer
    assert cramped.request("POST", f"/containers/{stopped}/stop?t=0")[0] == 204
    assert cramped.request("POST", f"/containers/{killed}/kill")[0] == 204
    assert json.loads(cramped.request("POST", f"/containers/{killed}/wait")[1])["StatusCode"] == 137
    assert b"ready" in cramped.request("GET", f"/containers/{killed}/logs?stdout=1")[1]
    assert cramped.request("DELETE", f"/containers/{removed}?force=1")[0] == 204
    assert cramped.request("DELETE", "/volumes/filled")[0] == 204
    (cramped.root / "fill").unlink()
    cramped.restart()
    states = {found["Id"]: found["State"] for found in cramped.json("GET", "/containers/json?all=1")}
    assert states == {stopped: "exited", killed: "exited"}
