"""The real docker CLI runs containers on Orlop: what it prints, how it ends, what it leaves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.usefixtures("image")]

Docker = Callable[..., CompletedProcess[str]]


def test_run_prints_what_the_container_prints_and_removes_it(docker: Docker) -> None:
    done = docker("run", "--rm", "--name", "hello", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 0)
    assert docker("ps", "-aq", "--filter", "name=hello").stdout == ""


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
)
def test_run_ends_with_the_status_of_the_container(docker: Docker, script: str, status: int) -> None:
    # PID 1 ignores signals from inside, so a child takes them.
    done = docker("run", "--rm", "busybox", "sh", "-c", f"sh -c '{script}'; exit $?", check=False)
    assert done.returncode == status


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("busybox", "no-such-program"), 127, 'exec: "no-such-program": executable file not found in $PATH'),
        (("busybox", "/etc/passwd"), 126, "permission denied"),
        (("no-such-image",), 125, "Unable to find image 'no-such-image:latest' locally"),
        (
            ("-u", "nobody-here", "busybox", "true"),
            125,
            "unable to find user nobody-here: no matching entries in passwd",
        ),
        (("--cap-add", "NOPE", "busybox", "true"), 125, 'invalid CapAdd: unknown capability: "CAP_NOPE"'),
        (("-m", "1m", "busybox", "true"), 125, "Minimum memory limit allowed is 6MB"),
    ],
)
def test_run_that_cannot_start_says_why(docker: Docker, words: tuple[str, ...], status: int, text: str) -> None:
    done = docker("run", "--rm", *words, check=False)
    assert done.returncode == status
    assert text in done.stderr
    assert docker("ps", "-aq").stdout == ""


def test_standard_input_reaches_the_container_to_its_end(docker: Docker) -> None:
    text = "hi\n" * 100_000
    assert docker("run", "--rm", "-i", "busybox", "cat", input=text).stdout == text


def test_a_container_in_the_background_is_listed_inspected_stopped_and_removed(docker: Docker) -> None:
    container = docker("run", "-d", "--name", "bg", "-e", "K=V", "busybox", "sleep", "1000").stdout.strip()
    try:
        assert (
            docker("ps", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.Image}}").stdout
            == f"{container} bg busybox\n"
        )
        assert (
            docker("inspect", "--format", "{{.State.Status}} {{index .Config.Env 0}}", "bg").stdout == "running K=V\n"
        )
        assert docker("exec", "bg", "sh", "-c", "echo $K").stdout == "V\n"
        assert docker("stop", "-t", "0", "bg").stdout == "bg\n"
        assert docker("inspect", "--format", "{{.State.ExitCode}}", "bg").stdout == "137\n"
        assert docker("start", "bg").stdout == "bg\n"
        assert "is running: stop the container" in docker("rm", "bg", check=False).stderr
    finally:
        assert docker("rm", "-f", "bg").stdout == "bg\n"
    assert "No such object" in docker("inspect", "bg", check=False).stderr


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("-w", "/nope"), 127, 'chdir to cwd ("/nope") set in config.json failed: no such file or directory'),
        (("-u", "nope"), 126, "unable to find user nope: no matching entries in passwd file"),
    ],
)
def test_exec_that_cannot_start_says_why(docker: Docker, words: tuple[str, ...], status: int, text: str) -> None:
    docker("run", "-d", "--name", "base", "busybox", "sleep", "1000")
    try:
        done = docker("exec", *words, "base", "true", check=False)
        assert (done.returncode, docker("exec", "base", "ls", "/nope", check=False).returncode) == (status, 1)
        assert text in done.stdout + done.stderr
    finally:
        docker("rm", "-f", "base")


def test_stop_sends_the_stop_signal_first(docker: Docker) -> None:
    script = "trap 'echo got usr1; exit 5' USR1; echo ready; while :; do sleep 0.1; done"
    docker("run", "-d", "--name", "polite", "--stop-signal", "USR1", "busybox", "sh", "-c", script)
    try:
        _until(lambda: "ready" in docker("logs", "polite").stdout)
        docker("stop", "polite")
        assert docker("logs", "polite").stdout.endswith("got usr1\n")
        assert docker("wait", "polite").stdout == "5\n"
    finally:
        docker("rm", "-f", "polite")


def test_kill_pause_rename_top_and_update_do_as_they_say(docker: Docker) -> None:
    docker("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    try:
        docker("pause", "one")
        assert docker("inspect", "--format", "{{.State.Status}}", "one").stdout == "paused\n"
        assert "is paused" in docker("exec", "one", "true", check=False).stderr
        docker("unpause", "one")
        docker("rename", "one", "two")
        assert "sleep 1000" in docker("top", "two").stdout
        docker("update", "--memory", "64m", "--memory-swap", "64m", "two")
        assert docker("inspect", "--format", "{{.HostConfig.Memory}}", "two").stdout == f"{64 << 20}\n"
        docker("kill", "-s", "KILL", "two")
        assert docker("wait", "two").stdout == "137\n"
        assert "is not running" in docker("kill", "two", check=False).stderr
    finally:
        docker("rm", "-f", "two")


def test_logs_have_streams_tail_timestamps_and_follow(docker: Docker) -> None:
    script = "for i in 1 2 3; do echo $i; done; echo e >&2; sleep 0.3; echo last"
    docker("run", "-d", "--name", "talk", "busybox", "sh", "-c", script)
    try:
        followed = docker("logs", "-f", "talk")
        assert (followed.stdout, followed.stderr) == ("1\n2\n3\nlast\n", "e\n")
        assert docker("logs", "--tail", "1", "talk").stdout == "last\n"
        stamped = docker("logs", "-t", "--tail", "1", "talk").stdout
        assert stamped.endswith("Z last\n")
        assert docker("logs", "--since", stamped.split()[0], "talk").stdout == "last\n"
    finally:
        docker("rm", "-f", "talk")


def test_stats_show_the_container(docker: Docker) -> None:
    docker("run", "-d", "--name", "counted", "-m", "32m", "busybox", "sleep", "1000")
    try:
        line = docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}} {{.PIDs}}").stdout
        assert line.startswith("counted ")
        assert line.endswith("/ 32MiB 1\n")
    finally:
        docker("rm", "-f", "counted")


def test_a_container_is_isolated_as_docker_isolates_it(docker: Docker) -> None:
    script = "hostname; echo $$; ls /sys/fs/cgroup >/dev/null && echo cg; grep -E '^(CapEff|Seccomp):' /proc/1/status"
    lines = docker("run", "--rm", "-h", "box", "busybox", "sh", "-c", script).stdout.split("\n")
    assert lines[:3] == ["box", "1", "cg"]
    assert lines[3].split() == ["CapEff:", "00000000a80425fb"]
    assert lines[4].split() == ["Seccomp:", "2"]


def test_a_named_volume_keeps_its_files_and_an_anonymous_one_goes_with_rm(docker: Docker) -> None:
    try:
        docker("run", "--rm", "-v", "data:/d", "-v", "/anonymous", "busybox", "sh", "-c", "echo kept > /d/f")
        assert docker("run", "--rm", "-v", "data:/d:ro", "busybox", "cat", "/d/f").stdout == "kept\n"
        assert "Read-only" in docker("run", "--rm", "-v", "data:/d:ro", "busybox", "touch", "/d/x", check=False).stderr
        assert docker("volume", "ls", "-q").stdout == "data\n"
    finally:
        docker("volume", "rm", "data", check=False)


def test_a_bind_mount_shows_the_hosts_directory(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("from the host\n")
    assert docker("run", "--rm", "-v", f"{tmp_path}:/x:ro", "busybox", "cat", "/x/f").stdout == "from the host\n"
    missing = docker("run", "--rm", "--mount", f"type=bind,src={tmp_path}/no,dst=/x", "busybox", "true", check=False)
    assert missing.returncode == 125
    assert "bind source path does not exist" in missing.stderr


def test_diff_tells_what_the_container_changed(docker: Docker) -> None:
    docker("run", "--name", "changed", "busybox", "sh", "-c", "echo x > /new; rm /etc/group")
    try:
        assert sorted(docker("diff", "changed").stdout.splitlines()) == ["A /new", "C /etc", "D /etc/group"]
    finally:
        docker("rm", "changed")


def test_events_come_in_dockers_order(docker: Docker) -> None:
    began = f"{time.time():.9f}"
    docker("run", "--rm", "--name", "seen", "busybox", "true")
    _until(lambda: '"destroy"' in _events(docker, began))
    actions = [(event["Type"], event["Action"]) for event in map(json.loads, _events(docker, began).splitlines())]
    assert actions == [
        ("container", "create"),
        ("container", "attach"),
        ("network", "connect"),
        ("container", "start"),
        ("container", "die"),
        ("network", "disconnect"),
        ("container", "destroy"),
    ]


def test_details_of_a_log_are_the_attributes_that_its_options_choose(docker: Docker) -> None:
    options = ("labels=one", "labels-regex=^t", "env-regex=OS$", "env=NO")
    attributes = ("--label", "one=1", "--label", "two=2", "--label", "other=3", "-e", "OS=deb", "-e", "OSX=no")
    words = [word for option in options for word in ("--log-opt", option)]
    docker("run", "--name", "told", *words, *attributes, "busybox", "echo", "hello")
    try:
        assert docker("logs", "--details", "told").stdout == "OS=deb,one=1,two=2 hello\n"
    finally:
        docker("rm", "told")


def test_a_name_that_is_taken_is_refused(docker: Docker) -> None:
    docker("create", "--name", "mine", "busybox")
    try:
        refused = docker("create", "--name", "mine", "busybox", check=False)
        assert refused.returncode == 1
        assert 'The container name "/mine" is already in use by container' in refused.stderr
    finally:
        docker("rm", "mine")


def test_a_container_that_eats_too_much_memory_is_killed_and_says_so(docker: Docker) -> None:
    docker("run", "--name", "greedy", "-m", "16m", "--memory-swap", "16m", "busybox", "tail", "/dev/zero", check=False)
    try:
        assert (
            docker("inspect", "--format", "{{.State.OOMKilled}} {{.State.ExitCode}}", "greedy").stdout == "true 137\n"
        )
    finally:
        docker("rm", "-f", "greedy")


def test_the_container_id_is_written_to_a_file_and_variables_are_read_from_one(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("A=from file\n# comment\n")
    words = ("--cidfile", str(tmp_path / "cid"), "--env-file", str(tmp_path / "env"), "busybox", "sh", "-c", "echo $A")
    assert docker("run", "--rm", *words).stdout == "from file\n"
    assert len((tmp_path / "cid").read_text()) == 64


def test_a_container_joins_the_network_of_another(docker: Docker) -> None:
    docker("run", "-d", "--name", "owner", "busybox", "sleep", "1000")
    try:
        script = "ip -4 -o addr show eth0 | awk '{print $4}'"
        own = docker("exec", "owner", "sh", "-c", script).stdout
        assert own.strip()
        assert docker("run", "--rm", "--network", "container:owner", "busybox", "sh", "-c", script).stdout == own
    finally:
        docker("rm", "-f", "owner")


def test_a_failed_container_is_restarted_as_often_as_its_policy_says(docker: Docker) -> None:
    docker("run", "-d", "--name", "again", "--restart", "on-failure:2", "busybox", "sh", "-c", "echo try; exit 1")
    try:
        _until(
            lambda: docker("inspect", "--format", "{{.State.Status}} {{.RestartCount}}", "again").stdout == "exited 2\n"
        )
        assert docker("logs", "again").stdout == "try\ntry\ntry\n"
    finally:
        docker("rm", "-f", "again")


def _events(docker: Docker, since: str) -> str:
    return docker("events", "--since", since, "--until", f"{time.time():.9f}", "--format", "{{json .}}").stdout


def _until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
