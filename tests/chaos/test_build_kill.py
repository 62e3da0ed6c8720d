"""Builds that are cut off at any moment, by the end of the daemon or of the client: nothing stray is left, and the next
build does again what was not finished, and only that."""

from __future__ import annotations

import io
import json
import random
import socket
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.slow]

MOMENTS = 50
STEPS = 20
SEED = 20_261_125

Factory = Callable[..., Daemon]
Json = dict[str, Any]


@pytest.fixture
def victim(daemon: Factory, image_archive: Path) -> Daemon:
    """A daemon with the base image, to be killed."""
    instance = daemon()
    instance.load(image_archive)
    return instance


class Build:
    """A build that is under way; its messages are read as they come."""

    def __init__(self, daemon: Daemon, number: int) -> None:
        lines = [f"RUN echo {number} {step} > /step{step}" for step in range(STEPS)]
        dockerfile = "\n".join(["FROM busybox", *lines]).encode()
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            member = tarfile.TarInfo("Dockerfile")
            member.size = len(dockerfile)
            tar.addfile(member, io.BytesIO(dockerfile))
        body = data.getvalue()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(daemon.socket))
        head = f"POST /build HTTP/1.0\r\nContent-Type: application/x-tar\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)
        self.finished: list[str] = []  # what is printed behind the steps
        self.cached = 0
        self.built = False
        self.error = ""

    def messages(self) -> Iterator[Json]:
        """Yield the messages until the connection ends, however it does."""
        rest = b""
        try:
            while block := self.socket.recv(65536):
                *lines, rest = (rest + block).split(b"\r\n")
                yield from (json.loads(line) for line in lines if line.startswith(b"{"))
        except OSError:
            return

    def until(self, steps: int) -> None:
        """Read until so many steps (and FROM) are finished, or the end."""
        for message in self.messages():
            text = message.get("stream", "")
            self.error = message.get("error", self.error)
            self.cached += text == " ---> Using cache\n"
            self.built |= text.startswith("Successfully built")
            if text.startswith(" ---> ") and len(text) == 6 + 12 + 1:
                self.finished.append(text)
                if len(self.finished) > steps:
                    return


@pytest.mark.timeout(900)
def test_a_build_that_is_cut_off_at_any_moment_goes_on_where_it_was(victim: Daemon) -> None:
    chance = random.Random(SEED)
    for number in range(MOMENTS):
        steps, pause, daemon_dies = chance.randrange(STEPS), chance.random() * 0.06, chance.random() < 0.5
        moment = f"moment {number}: {steps} steps, {pause:.3f} s, {'daemon' if daemon_dies else 'client'}"
        build = Build(victim, number)
        build.until(steps)
        time.sleep(pause)
        if daemon_dies:
            victim.kill()
            build.socket.close()
            victim.start()
        else:
            build.socket.close()
        again = Build(victim, number)
        again.until(STEPS + 10)
        assert again.built, f"{moment}: {again.error}\n{victim.log_tail()}"
        assert again.cached >= len(build.finished) - 1, f"{moment}: finished steps ran again"
        again.socket.close()
        _settled(victim, moment)
    status, checked = victim.request("POST", "/orlop/system/check")
    assert status == 200
    assert json.loads(checked.splitlines()[-1])["Summary"]["Problems"] == 0


def _settled(daemon: Daemon, moment: str) -> None:
    """Wait until nothing of builds is left but what they have made; fail if something stays."""
    deadline = time.monotonic() + 20
    while left := _left(daemon):
        assert time.monotonic() < deadline, f"{moment}: {left}"
        time.sleep(0.05)


def _left(daemon: Daemon) -> list[str]:
    mounts = Path(f"/proc/{daemon.pid}/mountinfo").read_text().splitlines()
    cgroups = [str(path) for parent in daemon.cgroup_parents() for path in parent.glob("*/")]
    links = daemon.netns.run("ip", "-o", "link").stdout.splitlines()
    return [
        *(str(path) for path in (daemon.data_root / "containers").iterdir()),
        *(str(path) for path in (daemon.exec_root / "c").iterdir()),
        *(path for path in cgroups if not path.rstrip("/").endswith("shims")),
        *(line for line in mounts if str(daemon.root) in line),
        *(line for line in links if f" o{daemon.instance}" in line),
    ]
