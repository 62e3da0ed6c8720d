"""docker and orlop on a real daemon: the same words, the same bytes, the same status."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.daemon import Daemon
from support.daemon import daemon as running_daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]


@pytest.fixture
def container(orlopd: Daemon, image: str) -> Iterator[str]:
    """A running container with labels, ports, a volume, output on both streams and a changed file."""
    script = "echo out; echo err >&2; touch /new; sleep 1000"
    words = (
        "run",
        "-d",
        "--name",
        "web",
        "-l",
        "b=2",
        "-l",
        "a=1",
        "-p",
        "127.0.0.1:8080:80",
        "-p",
        "53/udp",
        "-v",
        "data:/data",
    )
    orlopd.cli("orlop", *words, image, "sh", "-c", script)
    while "err" not in orlopd.cli("orlop", "logs", "web").stderr:
        pass
    yield "web"
    orlopd.cli("orlop", "rm", "-fv", "web")
    orlopd.cli("orlop", "volume", "rm", "-f", "data")


def outcomes(orlopd: Daemon, *words: str) -> list[tuple[str, str, int]]:
    found = []
    for program in ("docker", "orlop"):
        done = orlopd.cli(program, *words, check=False)
        texts = (re.sub(r"\b(docker|orlop):", "PROGRAM:", text) for text in (done.stdout, done.stderr))
        stdout, stderr = (text.replace("Run 'docker ", "Run 'orlop ") for text in texts)
        found.append((stdout, stderr, done.returncode))
    return found


@pytest.mark.parametrize(
    "line",
    [
        "ps -a --no-trunc --format {{.ID}}{{.Names}}{{.Ports}}{{.Labels}}{{.State}}{{.Mounts}}{{.Networks}}",
        "ps --filter label=a=1 -q",
        "ps --filter bogus=1",
        "images",
        "images --no-trunc --digests",
        "inspect web",
        "inspect web -f {{.State.Status}}",
        "inspect web -f {{json\\ .Config.Labels}}",
        "inspect data",
        "inspect busybox",
        "inspect nothing",
        "logs web",
        "logs -t -n 1 web",
        "logs nothing",
        "port web",
        "port web 80",
        "diff web",
        "history busybox",
        "volume ls",
        "volume inspect data",
        "exec web cat /etc/hostname",
        "exec web sh -c exit\\ 9",
        "exec web nope",
        "exec nothing true",
        "run --rm busybox echo hi",
        "run --rm busybox false",
        "run --rm busybox nope",
        "run --rm busybox /etc",
        "run --rm --name web busybox",
        "run --rm nothing:here",
        "run --rm -m 1m busybox",
        "rm web",
        "stop nothing",
        "kill -s bogus web",
        "rename web web",
        "wait nothing",
        "top web -o pid,args",
        "stats --no-stream --format {{.Name}} web",
        "update --memory 1m web",
        "tag busybox UPPER",
        "rmi nothing",
        "volume rm data",
        "system df --format {{.Type}}{{.TotalCount}}",
    ],
)
def test_same_words_same_status(orlopd: Daemon, container: str, line: str) -> None:
    words = [word.replace("\0", " ") for word in line.replace("\\ ", "\0").split()]
    theirs, ours = outcomes(orlopd, *words)
    assert ours == theirs


def test_input_goes_in_and_comes_out_whole(orlopd: Daemon, image: str) -> None:
    data = os.urandom(3_000_000)
    for program in ("docker", "orlop"):
        command, environment = orlopd.command(program)
        done = subprocess.run(
            [*command, "run", "--rm", "-i", image, "cat"],
            input=data,
            capture_output=True,
            env=environment,
            check=True,
            timeout=60,
        )
        assert done.stdout == data
        assert done.stderr == b""


def test_events_are_told_alike(orlopd: Daemon, container: str) -> None:
    window = ("events", "--since", "10m", "--until", str(int(time.time()) + 1), "--filter", "container=web")
    theirs, ours = outcomes(orlopd, *window)
    assert ours == theirs
    assert "container start" in ours[0]


def test_a_run_outlives_the_daemon_and_gets_its_exit_status(image_archive: Path) -> None:
    with running_daemon() as daemon:
        daemon.load(image_archive)
        command, environment = daemon.command("orlop")
        loop = "while read line; do echo got $line; [ $line = end ] && exit 9; done"
        words = [*command, "run", "-i", "--rm", "busybox", "sh", "-c", loop]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as client:
            assert client.stdin is not None
            assert client.stdout is not None

            def say(word: str) -> bytes:
                client.stdin.write(f"{word}\n".encode())  # type: ignore[union-attr]
                client.stdin.flush()  # type: ignore[union-attr]
                return client.stdout.readline()  # type: ignore[union-attr]

            assert say("before") == b"got before\n"
            daemon.kill()
            assert say("without") == b"got without\n"
            daemon.start()
            assert say("after") == b"got after\n"
            assert say("end") == b"got end\n"
            assert client.wait(20) == 9
