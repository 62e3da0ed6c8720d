"""docker and orlop understand the same command lines, and complain of the same things in the same words."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

import pytest

from orlop.cli.build.flags import OWN_NAMES
from orlop.cli.command import Command
from orlop.cli.flags import STRING
from orlop.cli.main import run
from orlop.cli.tree import TABLE
from support.fake_engine import Answer, FakeEngine
from support.side_by_side import Outcome, Run, environment_of, neutral

pytestmark = pytest.mark.docker

# Commands that docker does not have, or has under its own flags only; and flags that only orlop has.
OWN = {
    *("doctor", "completion", "__complete", "system dial-stdio", "system check"),
    *("image diff", "registry serve", "registry gc"),
    *("builder du", "builder shell", "builder dismiss"),
}
OWN_FLAGS: dict[str, Collection[str]] = {
    "image inspect": {"layers", "files"},
    **dict.fromkeys(("image build", "build", "builder build"), OWN_NAMES),
    "builder prune": {"max-used-space", "min-free-space", "reserved-space"},
}
# Without an engine docker hides no flag: neither Windows' nor a swarm's.
NOWHERE = {"DOCKER_HOST": "unix:///does/not/exist.sock"}
PATHS = [" ".join(path) for entry in TABLE for path in entry.paths if " ".join(path) not in OWN]


@pytest.fixture
def orlop(
    engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run `orlop` in this process: there are many command lines here, and a new Python for each takes its time."""
    for name in set(os.environ) - set(environment_of(engine, tmp_path)):
        monkeypatch.delenv(name)
    for name, value in environment_of(engine, tmp_path).items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> Outcome:
        status = run(arguments)
        captured = capsys.readouterr()
        return Outcome(neutral(captured.out), neutral(captured.err), status)

    return call


@pytest.mark.parametrize("path", PATHS)
def test_every_flag_of_docker_is_there_and_no_other(docker: Run, path: str) -> None:
    entry = next(entry for entry in TABLE if tuple(path.split()) in entry.paths)
    command = entry.load()
    assert isinstance(command, Command)
    # The columns are found by the two blanks before a flag; a label is one word.
    found = re.findall(
        r"^ {2}(?:-(\w), | {4})--([\w-]+)(?: ([a-z0-9-]+))? {2,}(.*)$",
        docker(*path.split(), "--help", env=NOWHERE).stdout,
        re.M,
    )
    theirs = {(name, short, label) for short, name, label, _ in found if name != "help"}
    own = {"help", *OWN_FLAGS.get(path, ())}
    ours = {
        (flag.name, flag.short, flag.kind.label) for flag in command.flags if not flag.hidden and flag.name not in own
    }
    assert ours == theirs


@pytest.mark.parametrize("path", PATHS)
def test_help_has_the_same_layout(docker: Run, orlop: Run, path: str) -> None:
    def skeleton(text: str) -> list[str]:
        lines = text.split("\n")
        aliases = lines[lines.index("Aliases:") + 1] if "Aliases:" in lines else ""
        return [lines[0], aliases, *(line for line in lines if line in ("Aliases:", "Options:"))]

    theirs, ours = docker(*path.split(), "--help"), orlop(*path.split(), "--help")
    assert skeleton(ours.stdout) == skeleton(theirs.stdout)
    assert (ours.status, ours.stderr) == (theirs.status, theirs.stderr)


@pytest.mark.parametrize(
    "line",
    [
        "bogus",
        "container bogus",
        "--bogus ps",
        "-z",
        "ps --bogus",
        "ps -z",
        "ps foo",
        "ps -n",
        "ps --last",
        "ps -n x",
        "ps -n=99999999999999999999",
        "ps -=3",
        "ps --=3",
        "ps ---x",
        "ps --all=maybe",
        "ps --filter novalue",
        "run",
        "run --bogus",
        "run --rm=maybe busybox",
        "run -m x busybox",
        "run -m 5q busybox",
        "run -m -5 busybox",
        "run --memory= busybox",
        "run --cpus=1.0000000001 busybox",
        "run --cpus=x busybox",
        "run -p 80:x busybox",
        "run -p 1-2:3-5 busybox",
        "run -p a.b.c:80:80 busybox",
        "run -p 80/foo busybox",
        "run -p : busybox",
        "run -p target busybox",
        "run -p target=80,x busybox",
        "run -p 70000 busybox",
        "run --expose 80:80 busybox",
        "run --expose x busybox",
        "run -v a:b:c:d busybox",
        "run -v :/x busybox",
        "run --mount type=bind,source=/a busybox",
        "run --mount type=bind,target=/a,bogus busybox",
        "run --mount type=bind,target=/a,bogus=1 busybox",
        "run --mount type=bind,target=/a,volume-nocopy busybox",
        "run --mount type=bind,target=/a,readonly=maybe busybox",
        "run --mount type=bind,target=/a,bind-recursive=readonly busybox",
        "run --mount type=bind,target=/a,bind-recursive=x busybox",
        "run --mount type=tmpfs,target=/a,tmpfs-mode=9 busybox",
        "run --ulimit nofile busybox",
        "run --ulimit bogus=1 busybox",
        "run --ulimit nofile=5:3 busybox",
        "run --ulimit nofile=1:2:3 busybox",
        "run --device a:b:c:d busybox",
        "run --device a:/b:x busybox",
        "run --device relative busybox",
        "run --device-cgroup-rule x busybox",
        "run --device-read-bps /dev/x busybox",
        "run --device-read-bps x:1 busybox",
        "run --device-write-iops /dev/x:-1 busybox",
        "run --blkio-weight-device /dev/x:5 busybox",
        "run --blkio-weight 70000 busybox",
        "run --sysctl kernel.bogus=1 busybox",
        "run --add-host x busybox",
        "run --add-host x:y busybox",
        "run --dns x busybox",
        "run --dns-search _ busybox",
        "run --label =x busybox",
        "run -e =x busybox",
        "run --link a:b:c busybox",
        "run --restart on-failure:x busybox",
        "run --restart :3 busybox",
        "run --rm --restart always busybox",
        "run --gpus x busybox",
        "run --gpus count=1,count=2 busybox",
        "run --network name= busybox",
        "run --network name=a,bogus=x busybox",
        "run --network a --network a busybox",
        "run --network host --network a busybox",
        "run --network-alias x busybox",
        "run --mac-address x busybox",
        "run --pid x busybox",
        "run --uts x busybox",
        "run --userns x busybox",
        "run --cgroupns x busybox",
        "run --memory-swappiness 101 busybox",
        "run --log-driver none --log-opt a=b busybox",
        "run --security-opt x busybox",
        "run --security-opt seccomp=/does/not/exist busybox",
        "run --storage-opt x busybox",
        "run --no-healthcheck --health-cmd x busybox",
        "run --health-interval 5 busybox",
        "run --health-interval 5q busybox",
        "run --health-interval=-5s busybox",
        "run --health-retries=-1 busybox",
        "run --stop-timeout x busybox",
        "run -a bogus busybox",
        "run -d -a stdout busybox",
        "run --env-file /does/not/exist busybox",
        "run --pull sometimes busybox",
        "run --platform x busybox",
        "run UPPER",
        "run -it busybox",
        "create",
        "create --pull sometimes busybox",
        "exec a",
        "exec -e =x a b",
        "logs",
        "logs a b",
        "wait",
        "tag a",
        "rename a",
        "port",
        "port a b c",
        "inspect",
        "volume create a b",
        "stop --timeout x a",
        "stop --time 1 --timeout 2 a",
        "start -a b c",
        "update --memory x a",
        "events --since nonsense",
        "events --format {{.Nope",
        "load --bogus",
        "build",
        "build a b",
        "image build",
        "builder build",
        "builder bogus",
        "builder prune x",
        "builder prune --filter x",
        "builder prune --keep-storage x",
        "build /does/not/exist",
        "build -f - -",
        "build /etc/passwd",
        "build --bogus .",
        "build -t UPPER .",
        "build -t a:b:c .",
        "build --build-arg =x .",
        "build --label =x .",
        "build --add-host x .",
        "build --ulimit bogus=1 .",
        "build -m x .",
        "build --shm-size -5 .",
        "build --cpu-quota x .",
        "build -f /does/not/exist /etc/ssl",
        "build /var/empty-of-a-dockerfile/..",
        "-D ps --bogus",
        "ps -D",
    ],
)
def test_mistakes_are_told_in_the_same_words(engine: FakeEngine, docker: Run, orlop: Run, line: str) -> None:
    engine.on("GET", "/containers/(a|b)/json", {"Id": "a", "Config": {"Tty": False}, "State": {}})
    theirs, ours = docker(*line.split()), orlop(*line.split())
    # docker's own slips are not taken over.
    expected = theirs.stderr.replace("SRun '", "Run '")
    assert (ours.stdout, ours.stderr, ours.status) == (theirs.stdout, expected, theirs.status)


def test_words_behind_the_image_belong_to_the_command(engine: FakeEngine, docker: Run, orlop: Run) -> None:
    engine.on("POST", "/containers/create", Answer({"Id": "c", "Warnings": []}, 201))
    for line in (
        "create --rm=false busybox --rm -x",
        "create -it busybox -- x",
        "create -eA=1 -e=B=2 -p80:80 --env=C=3 --memory 512m busybox sh -c x",
        "create -- busybox --name y",
        "create --name -x busybox",
    ):
        assert orlop(*line.split()) == docker(*line.split())
    bodies = [
        (request.json.get("Cmd"), sorted(request.json.get("Env") or ()), request.query)  # docker's Env is in no order
        for request in engine.asked("POST", "/containers/create")
    ]
    assert bodies[::2] == bodies[1::2]


def test_no_command_prints_the_help_to_stderr(orlop: Run) -> None:
    assert "Common Commands:" in orlop().stderr
    assert "Manage containers" in orlop("container").stderr
    assert orlop("container", "--help").stdout == orlop("help", "container").stdout


def test_string_flags_have_no_default_that_docker_lacks() -> None:
    shown = {
        flag.name
        for entry in TABLE
        if " ".join(entry.paths[0]) not in OWN and isinstance(command := entry.load(), Command)
        for flag in command.flags
        if flag.kind is STRING and flag.default
    }
    theirs = {"network", "pull", "restart", "tail", "driver", "availability", "scope", "sharing", "type"}
    assert shown - OWN_NAMES <= theirs
