"""Removing images by the docker command: Orlop and dockerd are told the same and answer the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import docker as sdk
import pytest

from support.archives import Image, docker_archive, tree
from support.daemon import Daemon
from support.daemon import daemon as running_daemon
from support.dockerd import dockerd
from support.registry import docker_registry

pytestmark = [pytest.mark.root, pytest.mark.docker]

_ID = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{12})\b")


@pytest.fixture(scope="module")
def own() -> Iterator[Daemon]:
    with running_daemon() as instance:
        yield instance


@pytest.fixture(scope="module")
def peer() -> Iterator[Callable[..., tuple[int, str]]]:
    """Run docker against dockerd; return the status and all that it wrote."""
    with dockerd() as engine:

        def run(*words: str | Path) -> tuple[int, str]:
            done = engine.run(*words, check=False)
            return done.returncode, done.stdout + done.stderr

        yield run


@dataclass(frozen=True)
class Pair:
    """Both engines. What is said is compared with ids made the same; `?name?` stands for the id of an image."""

    ours: Callable[..., tuple[int, str]]
    theirs: Callable[..., tuple[int, str]]

    def same(self, *words: str | Path) -> str:
        """Run a command on both, assert that both say and end the same, and return what they said."""
        answers = [self._neutral(run(*self._filled(run, words))) for run in (self.ours, self.theirs)]
        assert answers[0] == answers[1]
        return answers[0][1]

    def both(self, *words: str | Path) -> None:
        """Run a command on both, which has to succeed."""
        for run in (self.ours, self.theirs):
            status, text = run(*self._filled(run, words))
            assert status == 0, text

    def _filled(self, run: Callable[..., tuple[int, str]], words: tuple[str | Path, ...]) -> list[str | Path]:
        def identifier(match: re.Match[str]) -> str:
            return run("image", "inspect", "-f", "{{.Id}}", match[1])[1].strip()

        return [re.sub(r"\?([^?]+)\?", identifier, word) if isinstance(word, str) else word for word in words]

    def _neutral(self, answer: tuple[int, str]) -> tuple[int, str]:
        return answer[0], _ID.sub("<id>", answer[1])


@pytest.fixture
def pair(own: Daemon, peer: Callable[..., tuple[int, str]], image_archive: Path) -> Iterator[Pair]:
    def ours(*words: str | Path) -> tuple[int, str]:
        done = own.cli("docker", *words, check=False)
        return done.returncode, done.stdout + done.stderr

    pair = Pair(ours, peer)
    pair.both("load", "-qi", image_archive)
    yield pair
    for run in (pair.ours, pair.theirs):
        run("container", "prune", "-f")
        run("image", "prune", "-af")
        assert run("images", "-aq") == (0, "")


def test_names_go_one_by_one_and_the_last_takes_the_image_along(pair: Pair) -> None:
    pair.both("tag", "busybox", "busybox:two")
    pair.both("tag", "busybox", "reg.example.com/a/b:1")
    assert pair.same("rmi", "busybox:two") == "Untagged: busybox:two\n"
    assert "must be forced) - image is referenced in multiple repositories" in pair.same("rmi", "?busybox?")
    pair.same("rmi", "busybox", "reg.example.com/a/b:1")
    assert "No such image: busybox:latest" in pair.same("rmi", "busybox")


def test_an_id_takes_all_names_along_if_they_are_of_one_tag_or_if_forced(pair: Pair, image_archive: Path) -> None:
    assert pair.same("rmi", "?busybox?").startswith("Untagged: busybox:latest\nDeleted: sha256:<id>\nDeleted: ")
    pair.both("load", "-qi", image_archive)
    pair.both("tag", "busybox", "busybox:two")
    pair.same("rmi", "?busybox?")
    assert pair.same("rmi", "-f", "?busybox?").startswith("Untagged: busybox:latest\nUntagged: busybox:two\nDeleted:")


def test_a_stopped_container_keeps_its_image_unless_forced(pair: Pair) -> None:
    pair.both("create", "--name", "user", "busybox", "true")
    pair.same("rmi", "busybox")
    pair.same("rmi", "?busybox?")
    pair.both("tag", "busybox", "again")
    assert pair.same("rmi", "busybox") == "Untagged: busybox:latest\n"
    pair.same("rmi", "again")
    pair.same("rmi", "--force", "again")
    assert pair.same("images", "-q") == ""


def test_a_running_container_keeps_its_image_in_any_case(pair: Pair) -> None:
    pair.both("run", "-d", "--name", "runs", "busybox", "sleep", "1000")
    try:
        pair.same("rmi", "busybox")
        assert "(cannot be forced) - image is being used by running container" in pair.same("rmi", "?busybox?")
        pair.same("rmi", "-f", "?busybox?")
        pair.both("pause", "runs")
        pair.same("rmi", "-f", "?busybox?")
        assert pair.same("rmi", "-f", "busybox") == "Untagged: busybox:latest\n"
    finally:
        pair.both("rm", "-f", "runs")


def test_an_image_stays_while_others_were_committed_from_it_and_goes_with_the_last(pair: Pair) -> None:
    pair.both("run", "--name", "maker", "busybox", "touch", "/made")
    pair.both("commit", "maker", "child:1")
    pair.both("rm", "maker")
    expected = "conflict: unable to delete <id> (cannot be forced) - image has dependent child images"
    assert expected in pair.same("rmi", "?busybox?")
    assert expected in pair.same("rmi", "-f", "?busybox?")
    for run in (pair.ours, pair.theirs):
        parent = run("image", "inspect", "-f", "{{.Id}}", "busybox")[1]
        assert run("image", "inspect", "-f", "{{.Parent}}", "child:1")[1] == parent
    assert pair.same("rmi", "busybox") == "Untagged: busybox:latest\n"
    assert pair.same("images", "--format", "{{.Repository}}:{{.Tag}}") == "child:1\n"
    assert pair.same("images", "-a", "--format", "{{.Repository}}").splitlines() == ["child", "<none>"]
    assert pair.same("image", "prune", "-f") == "Total reclaimed space: 0B\n"
    assert pair.same("rmi", "child:1").count("Deleted") == 4  # two images, two layers


def test_a_parent_without_a_name_stays_if_it_is_not_to_be_pruned(pair: Pair) -> None:
    pair.both("run", "--name", "maker", "busybox", "touch", "/made")
    pair.both("commit", "maker", "child:1")
    pair.both("rm", "maker")
    pair.both("rmi", "busybox")
    assert pair.same("rmi", "--no-prune", "child:1").count("Deleted") == 2
    assert pair.same("images", "--format", "{{.Repository}}") == "<none>\n"
    assert pair.same("images", "--filter", "dangling=true", "-q") == "<id>\n"


def test_pruning_takes_what_has_no_name_or_with_all_what_no_container_has(
    pair: Pair, tmp_path: Path, image_archive: Path
) -> None:
    for number in (1, 2):
        data = docker_archive(
            Image([tree({f"f{number}": b"x"})], [f"x:{number}"], config={"Labels": {"n": str(number)}})
        )
        (tmp_path / "x.tar").write_bytes(data)
        pair.both("load", "-qi", tmp_path / "x.tar")
    assert pair.same("image", "prune", "-f") == "Total reclaimed space: 0B\n"
    assert "x:1" in _removed(pair, "image", "prune", "-af", "--filter", "label=n=1")
    assert "x:2" not in _removed(pair, "image", "prune", "-af", "--filter", "label!=n=2")
    pair.both("load", "-qi", image_archive)
    pair.both("create", "--name", "user", "busybox", "true")
    assert _removed(pair, "image", "prune", "-af", "--filter", "until=2020-01-01") == ""
    assert _removed(pair, "image", "prune", "-af").splitlines()[1] == "untagged: x:2"
    assert pair.same("images", "--format", "{{.Repository}}") == "busybox\n"


def _removed(pair: Pair, *words: str) -> str:
    """Return what both say, but for the bytes: dockerd counts lengths, Orlop what the disk gives back."""
    texts = []
    for run in (pair.ours, pair.theirs):
        status, text = run(*words)
        assert status == 0
        texts.append(_ID.sub("<id>", text.partition("Total reclaimed space")[0]))
    assert texts[0] == texts[1]
    return texts[0]


def test_digests_of_what_was_pulled_are_names_too(tmp_path: Path) -> None:
    with running_daemon() as own, docker_registry(own.netns) as registry, dockerd(own.netns) as peer:
        (tmp_path / "x.tar").write_bytes(docker_archive(Image([tree({"f": b"x" * 5000})], ["x:1"])))
        registry.put(tmp_path / "x.tar", "some/x:1")
        name = f"{registry.host}/some/x"

        def ours(*words: str | Path) -> tuple[int, str]:
            done = own.cli("docker", *words, check=False)
            return done.returncode, done.stdout + done.stderr

        def theirs(*words: str | Path) -> tuple[int, str]:
            done = peer.run(*words, check=False)
            return done.returncode, done.stdout + done.stderr

        pair = Pair(ours, theirs)
        pair.both("pull", f"{name}:1")
        digest = ours("image", "inspect", "-f", "{{index .RepoDigests 0}}", f"{name}:1")[1].strip().partition("@")[2]
        assert pair.same("images", "--digests", "--format", "{{.Tag}} {{.Digest}}") == "1 sha256:<id>\n"
        pair.both("tag", f"{name}:1", "other:1")
        assert pair.same("rmi", f"{name}@{digest}") == f"Untagged: {name}@sha256:<id>\n"
        pair.both("pull", f"{name}:1")
        pair.same("rmi", f"{name}:1")  # with the last tag of a repository its digests go
        assert pair.same("rmi", "other:1").count("Deleted") == 2
        pair.both("pull", f"{name}@{digest}")
        assert pair.same("images", "--filter", "dangling=true", "--format", "{{.Repository}}:{{.Tag}}") != ""
        assert pair.same("images", "--filter", "dangling=false", "--format", "{{.Repository}}:{{.Tag}}") != ""
        pair.same("rmi", "-f", f"?{name}@{digest}?")
        pair.both("pull", f"{name}@{digest}")
        assert "untagged" in _removed(pair, "image", "prune", "-f")

        own.cli("docker", "pull", f"{name}:1")
        image = own.json("GET", f"/images/{name}:1/json?manifests=1")
        (manifest,) = image["Manifests"]
        assert manifest["ID"] == manifest["Descriptor"]["digest"] == image["Descriptor"]["digest"] == digest
        assert (manifest["Kind"], manifest["Available"]) == ("image", True)
        assert manifest["Size"]["Total"] - manifest["Size"]["Content"] == image["Size"]
        (summary,) = own.json("GET", "/images/json?manifests=1")
        assert [each["ID"] for each in summary["Manifests"]] == [digest]
        assert "Descriptor" not in own.json("GET", f"/v1.47/images/{name}:1/json")
        assert name in own.cli("docker", "image", "ls", "--tree").stdout


def test_what_an_image_here_has_no_manifest_or_platform_of_is_said(own: Daemon, image_archive: Path) -> None:
    own.load(image_archive)
    image = own.json("GET", "/images/busybox/json")
    assert image["RepoDigests"] == []
    assert "Manifests" not in image
    assert own.json("GET", "/images/busybox/json?manifests=1")["Manifests"] == []  # it was loaded, and has none
    platform = quote('{"os":"linux","architecture":"s390x"}')
    status, body = own.request("GET", f"/images/busybox/json?platform={platform}")
    assert status == 404
    assert json.loads(body)["message"].startswith("image with reference busybox was found but its platform (linux/")
    assert own.request("DELETE", f"/images/busybox?platforms={platform}")[0] == 404
    assert own.request("DELETE", f"/images/busybox?platforms={platform}&platforms={platform}")[0] == 400
    assert own.request("GET", f"/images/busybox/json?manifests=1&platform={platform}")[0] == 400
    own.cli("orlop", "rmi", "busybox")


def test_docker_py_removes_and_prunes(own: Daemon, image_archive: Path) -> None:
    own.load(image_archive)
    client = sdk.DockerClient(base_url=own.host, timeout=60)
    try:
        client.images.get("busybox").tag("other", "1")
        client.images.remove("busybox")
        answer = client.images.prune(filters={"dangling": False})
        assert answer["ImagesDeleted"][0] == {"Untagged": "other:1"}
        assert answer["SpaceReclaimed"] > 1_000_000
        assert client.images.list() == []
        assert client.df()["LayersSize"] < 100_000
    finally:
        client.close()
