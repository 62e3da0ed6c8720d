"""Kill -9 while images come and go: the next start finds the old state or the new one, sound, and no rubbish."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.archives import Image, docker_archive, layer, member, tree
from support.daemon import Daemon
from support.registry import docker_registry

pytestmark = [pytest.mark.root, pytest.mark.slow]

Json = dict[str, Any]
Step = Callable[[], None]

ROUNDS = 6  # kills of one test
BASE = tree({f"base/{number}/{name}": bytes([number]) * 2000 for number in range(30) for name in "abcdef"})
LEANING = layer(member("base/1/more", b"m" * 300_000))  # is unpacked on what lies below


def top(number: int) -> bytes:
    return tree({f"top/{number}/{index}": bytes([number, index]) * 20_000 for index in range(30)})


class Victim:
    """A daemon with clients that do things over and over, until it is killed."""

    def __init__(self, daemon: Daemon, directory: Path) -> None:
        self.daemon = daemon
        self.random = random.Random(0)
        self.archives: list[Path] = []
        for number in range(3):
            path = directory / f"{number}.tar"
            images = [
                Image([BASE, top(number)], [f"pair{number}:a", f"alias{number}:1"]),
                Image([BASE, LEANING, top(number + 10)], [f"pair{number}:b"]),
            ]
            path.write_bytes(docker_archive(*images))
            self.archives.append(path)

    def ask(self, method: str, path: str, body: object = None) -> None:
        """Ask for something that may be refused."""
        self.daemon.request(method, path, body)

    def load(self) -> None:
        self.daemon.load(self.random.choice(self.archives))

    def delete(self) -> None:
        name = self.random.choice(("pair0:a", "pair1:a", "pair1:b", "pair2:b", "new:1", "made:1"))
        self.ask("DELETE", f"/images/{name}?force=1")

    def tag(self) -> None:
        source = self.random.choice(("pair0:a", "pair1:b", "pair2:a"))
        self.ask("POST", f"/images/{source}/tag?repo=new&tag={self.random.randrange(3)}")

    def prune(self) -> None:
        everything = self.random.choice(("true", "false"))
        self.ask("POST", f'/images/prune?filters={{"dangling":["{everything}"]}}')

    def commit(self) -> None:
        self.ask("POST", "/commit?container=kept&repo=made&tag=1", {})

    def check(self) -> None:
        self.ask("POST", "/orlop/system/check?repair=1")

    def run(self, steps: list[Step], seconds: float) -> None:
        """Let two clients repeat random `steps`, and kill the daemon after `seconds`."""
        over = threading.Event()

        def client() -> None:
            while not over.is_set():
                try:
                    self.random.choice(steps)()
                except (OSError, http.client.HTTPException, ValueError, AssertionError):
                    time.sleep(0.01)  # the daemon is gone, or refused what another client made impossible

        clients = [threading.Thread(target=client) for _ in range(2)]
        for each in clients:
            each.start()
        time.sleep(seconds)
        self.daemon.kill()
        over.set()
        for each in clients:
            each.join()

    def assert_sound(self) -> None:
        """Start the daemon again and look whether all that it has is as it should be."""
        self.daemon.start()
        status, body = self.daemon.request("POST", "/orlop/system/check", timeout=120)
        messages = [json.loads(line) for line in body.splitlines()]
        assert status == 200
        assert [message for message in messages if "Progress" not in message] == [
            {"Summary": messages[-1]["Summary"] | {"Problems": 0, "Mended": 0}}
        ]
        deadline = time.monotonic() + 20
        while left := [path for path in (self.daemon.data_root / "tmp").iterdir() if path.name != "partial"]:
            assert time.monotonic() < deadline, left
            time.sleep(0.02)


@pytest.fixture
def victim(daemon: Callable[..., Daemon], tmp_path: Path, image_archive: Path) -> Victim:
    instance = daemon()
    instance.load(image_archive)
    instance.json("POST", "/containers/create?name=kept", {"Image": "busybox", "Cmd": ["true"]})
    instance.json("POST", "/containers/kept/start")
    instance.json("POST", "/containers/kept/wait")
    return Victim(instance, tmp_path)


@pytest.mark.parametrize("seed", [1, 2])
def test_all_that_changes_images_survives_kills_at_any_moment(victim: Victim, seed: int) -> None:
    victim.random.seed(seed)
    steps = [victim.load, victim.load, victim.delete, victim.tag, victim.prune, victim.commit, victim.check]
    for _ in range(ROUNDS):
        victim.run(steps, victim.random.uniform(0.05, 1.0))
        victim.assert_sound()
        assert victim.daemon.json("GET", "/images/busybox/json")["Id"]  # what a container uses was never in danger


@pytest.mark.parametrize("seed", [3])
def test_images_of_one_archive_come_all_or_not_at_all(victim: Victim, seed: int) -> None:
    victim.random.seed(seed)
    for _ in range(ROUNDS):
        victim.run([victim.load], victim.random.uniform(0.02, 0.6))
        victim.assert_sound()
        names = {name for image in victim.daemon.json("GET", "/images/json") for name in image["RepoTags"]}
        for number in range(3):
            assert len(names & {f"pair{number}:a", f"pair{number}:b", f"alias{number}:1"}) in (0, 3)
        victim.daemon.json("POST", '/images/prune?filters={"dangling":["false"]}')


@pytest.mark.parametrize("seed", [4])
def test_pulls_survive_kills_and_end_well_after_them(victim: Victim, tmp_path: Path, seed: int) -> None:
    victim.random.seed(seed)
    with docker_registry(victim.daemon.netns) as registry:
        names = []
        for number in range(3):
            (tmp_path / "one.tar").write_bytes(docker_archive(Image([BASE, LEANING, top(number)], ["one:1"])))
            registry.put(tmp_path / "one.tar", f"some/image:{number}")
            names.append(f"fromImage={registry.host}/some/image&tag={number}")
        steps: list[Step] = [
            *(lambda name=name: victim.ask("POST", f"/images/create?{name}") for name in names),
            lambda: victim.ask("DELETE", f"/images/{registry.host}/some/image:1"),
        ]
        for _ in range(ROUNDS // 2):
            victim.run(steps, victim.random.uniform(0.05, 0.8))
            victim.assert_sound()
        for name in names:
            assert victim.daemon.request("POST", f"/images/create?{name}")[0] == 200
        assert len(victim.daemon.json("GET", "/images/json")) == 4
