"""A container's start and end, by launcher and shim alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.shim_lab import BUSYBOX, Lab, eventually, specification

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if not BUSYBOX.exists():
        pytest.skip("needs busybox-static")
    bench = Lab(tmp_path_factory.mktemp("shim"))
    yield bench
    bench.close()


def test_a_program_runs_and_its_exit_status_is_on_disk_before_it_is_told(lab: Lab) -> None:
    running = lab.start(specification("sh", "-c", "echo out; echo err >&2; exit 7"))
    assert running.await_start()["type"] == "started"
    exited = running.await_exit()
    assert exited["exit_code"] == 7
    assert running.exit_file["exit_code"] == 7
    assert running.exit_file["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert running.ctl.at_end()
    assert running.gone()
    assert sorted(running.journal().split()) == [b"err", b"out"]
    assert not (running.run_dir / "shim.sock").exists()


def test_a_signal_that_ends_the_program_is_told_as_128_and_its_number(lab: Lab) -> None:
    running = lab.start(specification("sleep", "1000"))
    running.await_start()
    assert running.signal(signal.SIGKILL)["ok"]
    exited = running.await_exit()
    assert (exited["exit_code"], exited["signal"]) == (137, 9)
    assert running.gone()


def test_every_namespace_is_its_own(lab: Lab) -> None:
    running = lab.start(specification("sleep", "1000"))
    running.await_start()
    for name in ("pid", "net", "ipc", "uts", "mnt", "cgroup"):
        assert os.readlink(f"/proc/{running.pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}"), name
    assert running.run("sh", "-c", "hostname; cat /proc/1/comm") == (0, "box\nsleep\n")


def test_namespaces_that_are_not_named_are_the_hosts_and_those_with_a_path_are_joined(lab: Lab) -> None:
    first = lab.start(specification("sleep", "1000"))
    first.await_start()
    spec = specification("sleep", "1000", namespaces=("mount",))
    spec["linux"]["namespaces"] += [
        {"type": kind, "path": f"/proc/{first.pid}/ns/{name}"} for kind, name in (("network", "net"), ("pid", "pid"))
    ]
    second = lab.start(spec)
    assert second.await_start()["type"] == "started"
    for name in ("net", "pid"):
        assert os.readlink(f"/proc/{second.pid}/ns/{name}") == os.readlink(f"/proc/{first.pid}/ns/{name}")
    for name in ("ipc", "uts"):
        assert os.readlink(f"/proc/{second.pid}/ns/{name}") == os.readlink(f"/proc/self/ns/{name}")
    second.signal(signal.SIGKILL)
    assert second.await_exit()["exit_code"] == 137
    assert Path(f"/proc/{first.pid}").exists()


def test_the_network_namespace_is_handed_over_before_the_program_runs(lab: Lab) -> None:
    running = lab.start(specification("cat", "/proc/net/dev"), network=True)
    running.ctl.wait("netns")
    assert os.readlink(f"/proc/self/fd/{running.ctl.fds[0]}").startswith("net:[")
    assert not any(message["type"] == "started" for message in running.ctl.log)
    running.ctl.send("network", interfaces=[], sysctls={})
    assert running.await_start()["type"] == "started"
    running.await_exit()
    assert b"lo:" in running.journal()


@pytest.mark.parametrize("how", ["abort", "hang up"])
def test_a_start_that_is_given_up_leaves_nothing(lab: Lab, how: str) -> None:
    running = lab.start(specification("sleep", "1000"), network=True)
    running.ctl.wait("netns")
    running.shim_pid = running.ctl.log[0]["shim_pid"]
    if how == "abort":
        running.ctl.send("abort")
        assert running.ctl.wait("failed")["stage"] == "network"
    else:
        running.ctl.close()
    assert running.gone()
    assert list(running.run_dir.iterdir()) == []


def test_the_daemon_may_go_and_come_back(lab: Lab) -> None:
    running = lab.start(specification("sleep", "1000"))
    running.await_start()
    running.ctl.close()
    peer = running.connect()
    hello = peer.wait("hello")
    assert (hello["id"], hello["pid"], hello["shim_pid"]) == (running.id, running.pid, running.shim_pid)
    running.ctl = peer
    running.signal(signal.SIGKILL)
    assert peer.wait("exited")["exit_code"] == 137


def test_a_request_for_a_running_container_is_answered_with_its_state_even_by_a_new_launcher(lab: Lab) -> None:
    running = lab.start(specification("sleep", "1000"))
    running.await_start()
    for _ in range(2):
        again = lab.start(specification("sleep", "1000"), again=running)
        assert again.await_start()["pid"] == running.pid
        assert again.shim_pid == running.shim_pid
        lab.stop_launcher()
        assert Path(f"/proc/{running.pid}").exists()
        lab.start_launcher()


def test_a_container_can_be_started_again_at_once(lab: Lab) -> None:
    running = lab.start(specification("sh", "-c", "echo x >> /tmp/runs; cat /tmp/runs"))
    for count in range(1, 6):
        running = (
            lab.start(specification("sh", "-c", "echo x >> /tmp/runs; wc -l < /tmp/runs"), again=running)
            if (count > 1)
            else running
        )
        running.await_start()
        assert running.await_exit()["exit_code"] == 0
    assert running.journal().split()[-1] == b"5"
    assert running.gone()


def test_killing_the_shim_kills_the_container(lab: Lab) -> None:
    running = lab.start(specification("sh", "-c", "sleep 1000 & sleep 1000", user={"username": "worker"}))
    running.await_start()
    os.kill(running.shim_pid, signal.SIGKILL)
    assert eventually(lambda: not Path(f"/proc/{running.pid}/ns").exists())
    assert not (running.run_dir / "exit.json").exists()


def test_orphans_of_a_container_in_the_hosts_pid_namespace_end_with_it(lab: Lab) -> None:
    from orlop.linux.cgroup import open_cgroup

    spec = specification("sh", "-c", "sleep 1234 & echo $!", namespaces=("network", "ipc", "uts", "mount", "cgroup"))
    spec["linux"]["cgroupsPath"] = f"/orlop-test-{os.getpid()}"
    running = lab.start(spec)
    running.await_start()
    assert running.await_exit()["exit_code"] == 0
    assert running.gone()
    orphan = int(running.journal())
    assert eventually(lambda: not Path(f"/proc/{orphan}/ns").exists())
    assert not any(directory.exists() for directory in open_cgroup(spec["linux"]["cgroupsPath"]).directories())


def test_ports_are_held_while_the_container_runs_and_free_when_its_end_is_told(lab: Lab) -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    address = sock.getsockname()
    running = lab.start(specification("sleep", "1000"), ports=(sock.fileno(),))
    running.await_start()
    sock.close()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(address)
    running.signal(signal.SIGKILL)
    running.await_exit()
    with socket.socket() as other:
        other.bind(address)


def test_the_launchers_interpreter_cannot_be_written_to_and_it_loads_nothing_heavy(tmp_path: Path) -> None:
    bench = Lab(tmp_path)
    bench.run(specification("true"))
    loaded = Path(f"/proc/{bench.launcher.pid}/maps").read_text()
    assert not [name for name in ("_asyncio", "_sqlite3", "_ssl", "msgspec", "aiohttp") if name in loaded]
    # CVE-2019-5736. To open it for writing would say "busy" here, as other interpreters run.
    assert os.statvfs(f"/proc/{bench.launcher.pid}/exe").f_flag & os.ST_RDONLY
    bench.close()


def test_the_shim_imports_neither_threads_nor_coroutines() -> None:
    code = "import orlop.shim.launcher, sys; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"asyncio", "threading", "aiohttp", "msgspec", "sqlite3", "pyroute2", "subprocess", "logging", "ssl"}
    assert not heavy & set(loaded)


def test_containers_go_on_without_the_launcher(tmp_path: Path) -> None:
    bench = Lab(tmp_path)
    running = bench.start(specification("sleep", "1000"))
    running.await_start()
    bench.stop_launcher()
    assert bench.launcher.returncode == 0
    assert running.signal(signal.SIGKILL)["ok"]
    assert running.await_exit()["exit_code"] == 137
    running.ctl.close()
    assert running.gone()


def test_limits_names_and_cgroup_are_applied(lab: Lab) -> None:
    spec = specification(
        "sh", "-c", "ulimit -n; cat /proc/sys/kernel/msgmax /proc/self/oom_score_adj; grep -c 64mebi /dev/null; pwd",
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456}], oomScoreAdj=500, cwd="/made/here",
    )  # fmt: skip
    spec["linux"]["sysctl"] = {"kernel.msgmax": "12345"}
    spec["linux"]["cgroupsPath"] = f"/orlop-test-{os.getpid()}-l"
    spec["linux"]["resources"] = {"memory": {"limit": 64 << 20}}
    spec["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro", "nosuid"]})
    assert lab.run(spec) == (0, "123\n12345\n500\n0\n/made/here\n")


def test_memory_that_runs_out_is_told(lab: Lab) -> None:
    spec = specification("sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1 & wait $!; exit 5")
    spec["linux"]["cgroupsPath"] = f"/orlop-test-{os.getpid()}-m"
    spec["linux"]["resources"] = {"memory": {"limit": 32 << 20, "swap": 32 << 20}}
    running = lab.start(spec)
    running.await_start()
    running.ctl.wait("oom")
    exited = running.await_exit()
    assert exited["oom_killed"] is True
    assert running.gone()


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["nope"], 127, 'exec: "nope": executable file not found in $PATH'),
        (["/no/such"], 127, 'exec: "/no/such": stat /no/such: no such file or directory'),
        (["/etc/passwd"], 126, 'exec: "/etc/passwd": permission denied'),
        (["/etc"], 126, 'exec: "/etc": is a directory'),
    ],
)
def test_a_program_that_cannot_be_executed_fails_the_start(lab: Lab, args: list[str], code: int, text: str) -> None:
    prefix = "failed to create task for container: failed to create shim task: OCI runtime create failed: "
    running = lab.start(specification(*args))
    failed = running.await_start()
    assert failed["type"] == "failed"
    assert failed["exit_code"] == code
    assert failed["message"].startswith(prefix + "runc create failed: unable to start container process: error during ")
    assert failed["message"].endswith(f"container init: {text}: unknown")
    assert running.gone()
    assert list(running.run_dir.iterdir()) == []


def test_a_script_without_an_interpreter_says_so_and_ends_with_255(lab: Lab) -> None:
    spec = specification("/x")
    (lab.tree / "x").write_text("nothing")
    (lab.tree / "x").chmod(0o755)
    assert lab.run(spec) == (255, "exec /x: exec format error\n")


def test_other_failures_have_dockers_words(lab: Lab) -> None:
    spec = specification("true")
    spec["mounts"].append({"destination": "/etc", "type": "bind", "source": "/etc/hostname", "options": ["rbind"]})
    code, text = lab.run(spec)
    assert code == 127
    assert "not a directory: unknown: Are you trying to mount a directory onto a file (or vice-versa)?" in text
    assert lab.run(specification("true", user={"username": "foo"})) == (
        128,
        "unable to find user foo: no matching entries in passwd file",
    )
    code, text = lab.run(specification("true", cwd="/etc/passwd"))
    assert text.endswith('chdir to cwd ("/etc/passwd") set in config.json failed: not a directory: unknown')
