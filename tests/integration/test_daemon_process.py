"""`orlopd` as a process: how it starts, refuses to, is told things, and ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.certificates import Authority
from support.daemon import BIN, Daemon

pytestmark = pytest.mark.root

Start = Callable[..., Daemon]


def orlopd(*arguments: str | Path, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Run a daemon that is not expected to stay."""
    return subprocess.run([str(BIN / "orlopd"), *map(str, arguments)], capture_output=True, text=True, timeout=timeout)


def roots(directory: Path) -> list[str]:
    return [f"--data-root={directory / 'data'}", f"--exec-root={directory / 'run'}", "--config-file=/dev/null"]


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_flags_that_are_wrong_or_missing_end_it_with_their_name() -> None:
    for flag, text in (
        ("--bogus", "unknown flag: --bogus"),
        ("--userns-remap=default", "orlopd does not have --userns-remap (a flag of dockerd)"),
        ("--mtu=x", 'invalid argument "x" for "--mtu" flag'),
    ):
        done = orlopd(flag)
        assert done.returncode == 1
        assert text in done.stderr
        assert done.stderr.endswith("See 'orlopd --help'.\n")


def test_a_configuration_is_validated_without_a_daemon(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"debug": true}')
    assert orlopd("--validate", f"--config-file={file}").stderr == "configuration OK\n"
    done = orlopd("--validate", "--debug", f"--config-file={file}")
    assert done.returncode == 1
    assert (
        f"unable to configure the Docker daemon with file {file}: the following directives are specified" in done.stderr
    )


def test_a_second_daemon_on_a_data_root_is_refused_and_told_who_has_it(daemon: Start, tmp_path: Path) -> None:
    first = daemon()
    done = orlopd(f"--data-root={first.data_root}", f"--exec-root={tmp_path}", "--config-file=/dev/null")
    assert done.returncode == 1
    (holder,) = [line for line in (first.data_root / "orlop.lock").read_text().splitlines() if line]
    assert f"another orlopd (process {holder}) uses the data root {first.data_root}" in done.stderr
    assert first.answers()


def test_a_socket_path_that_is_too_long_is_refused_with_its_length(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    done = orlopd(*roots(deep))
    assert done.returncode == 1
    assert "bytes, and the kernel takes 107" in done.stderr
    assert not (deep / "run/orlop.sock").exists()


def test_tcp_without_tls_has_to_be_asked_for(tmp_path: Path) -> None:
    done = orlopd(*roots(tmp_path), "-H", "tcp://127.0.0.1:0")
    assert done.returncode == 1
    assert "--tls=false" in done.stderr


def test_a_signal_ends_it_and_it_takes_its_files_along(daemon: Start) -> None:
    instance = daemon()
    pidfile = instance.root / "orlopd.pid"
    assert pidfile.exists()
    assert instance.stop() == 0
    assert not pidfile.exists()
    assert not instance.socket.exists()
    instance.start()


def test_open_streams_do_not_hold_up_its_end(daemon: Start) -> None:
    instance = daemon()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(instance.socket))
        client.sendall(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        assert instance.stop(timeout=20) == 0
    instance.start()


def test_sighup_applies_what_can_change_and_publishes_it(daemon: Start) -> None:
    instance = daemon()
    (instance.root / "daemon.json").write_text('{"labels": ["a=b"], "debug": true, "mtu": 1400}')
    since = time.time()
    os.kill(instance.pid, signal.SIGHUP)

    def events() -> list[dict[str, Any]]:
        body = instance.request("GET", f"/events?since={since:.3f}&until={time.time():.3f}")[1]
        return [json.loads(line) for line in body.splitlines()]

    eventually(lambda: bool(events()), "the reload is not published")
    (event,) = events()
    info = instance.json("GET", "/info")
    assert (info["Labels"], event["Actor"]["ID"]) == (["a=b"], info["ID"])
    assert (event["Type"], event["Action"]) == ("daemon", "reload")
    assert event["Actor"]["Attributes"]["labels"] == '["a=b"]'
    assert "changed, but not before the next start: mtu" in instance.log.read_text()
    (instance.root / "daemon.json").write_text('{"labels": ["a"]}')
    os.kill(instance.pid, signal.SIGHUP)
    eventually(lambda: "Error reloading configuration" in instance.log.read_text(), "the error is not told")
    assert instance.json("GET", "/info")["Labels"] == ["a=b"]


def test_sigusr1_writes_what_it_is_doing(daemon: Start) -> None:
    instance = daemon()
    os.kill(instance.pid, signal.SIGUSR1)
    eventually(lambda: any(instance.exec_root.glob("stacks-*.log")), "no stacks are written")
    (dump,) = instance.exec_root.glob("stacks-*.log")
    eventually(lambda: "_serve" in dump.read_text(), "the stacks say nothing")


@contextmanager
def supervised(
    directory: Path, *arguments: str, passed: socket.socket | None = None
) -> Iterator[tuple[int, socket.socket]]:
    """Run a daemon as systemd would: sockets passed, a socket that hears how it is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(directory / "notify"))
        manager.settimeout(30)
        program = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3) if sys.argv[1] != '-' else None;"
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1' if sys.argv[1] != '-' else '');"
            "os.execv(sys.argv[2], sys.argv[2:])"
        )
        fd = passed.fileno() if passed else None
        command = ["unshare", "-n", sys.executable, "-c", program, str(fd) if fd is not None else "-"]
        process = subprocess.Popen(
            [*command, str(BIN / "orlopd"), *roots(directory), "--bridge=none", *arguments],
            env={**os.environ, "NOTIFY_SOCKET": str(directory / "notify")},
            pass_fds=[fd] if fd is not None else [],
            stderr=(directory / "log").open("wb"),
        )
        try:
            yield process.pid, manager
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, (directory / "log").read_text()


def test_systemd_passes_sockets_and_hears_how_it_is(tmp_path: Path) -> None:
    path = tmp_path / "passed.sock"
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(path))
        passed.listen()
        with supervised(tmp_path, "-H", "fd://", passed=passed) as (pid, manager):
            assert manager.recv(100) == b"READY=1"
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n")
                assert client.recv(1000).endswith(b"OK")
            os.kill(pid, signal.SIGHUP)
            assert manager.recv(100).startswith(b"RELOADING=1\n")
            assert manager.recv(100) == b"READY=1"
            os.kill(pid, signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
    assert path.exists()  # it is systemd's


@pytest.mark.docker
def test_the_docker_command_loses_nothing_over_tls(daemon: Start, image_archive: Path, tmp_path: Path) -> None:
    """Input that ends by the client's half-close, which over TLS is not the end of the connection."""
    files = Authority(tmp_path)
    port = 2376
    instance = daemon(
        f"--host=tcp://127.0.0.1:{port}",
        *("--tlsverify", f"--tlscacert={files.ca}", f"--tlscert={files.server}", f"--tlskey={files.server}"),
    )
    instance.load(image_archive)
    words, environment = instance.command("docker")
    environment["DOCKER_HOST"] = f"tcp://127.0.0.1:{port}"
    tls = ["--tlsverify", f"--tlscacert={files.ca}", f"--tlscert={files.client}", f"--tlskey={files.client}"]

    def docker(*arguments: str, input: bytes = b"") -> bytes:
        command = instance.netns.command(*words, *tls, *arguments)
        done = subprocess.run(command, input=input, capture_output=True, timeout=60, env=environment)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    sent = os.urandom(5_000_000)
    assert docker("run", "--rm", "-i", "busybox", "sh", "-c", "cat; echo end", input=sent) == sent + b"end\n"
    docker("run", "-d", "--name", "held", "busybox", "sleep", "1000")
    assert docker("exec", "-i", "held", "sh", "-c", "cat; echo end", input=sent) == sent + b"end\n"
    docker("rm", "-f", "held")
    refused = subprocess.run(
        instance.netns.command(*words, "--tls", f"--tlscacert={files.ca}", "version"),
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert refused.returncode != 0
