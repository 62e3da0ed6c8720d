"""Pulling from a real registry, by the real docker command, by docker-py and by orlop."""

from __future__ import annotations

import json
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support import archives
from support.archives import CONFIG, MANIFEST, Image, descriptor, tree
from support.daemon import Daemon
from support.daemon import daemon as running_daemon
from support.netns import network_namespace
from support.registry import DockerRegistry, docker_registry

pytestmark = [pytest.mark.root, pytest.mark.docker]


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


SMALL = tree({"etc/motd": b"hello"})


@dataclass
class Harbour:
    """A daemon and a registry that share a network namespace."""

    daemon: Daemon
    registry: DockerRegistry
    directory: Path

    def push(self, name: str, *layers: bytes, **fields: Any) -> Image:
        """Put an image of `layers` into the registry."""
        image = Image(list(layers), [f"x/{name}"], **fields)
        path = self.directory / "image.tar"
        path.write_bytes(archives.docker_archive(image))
        self.registry.put(path, name)
        return image

    def push_index(self, name: str, **images: Image) -> None:
        """Put an index with `images` for the architectures that they are named by into the registry."""
        entries, blobs = [], []
        for architecture, image in images.items():
            manifest = archives.manifest(image)
            platform = {"os": "linux", "architecture": architecture}
            entries.append(descriptor(manifest, MANIFEST, platform=platform))
            blobs += [manifest, image.document, *image.layers]
        top = archives.index(entries)
        path = self.directory / "layout.tar"
        path.write_bytes(archives.oci_layout([descriptor(top, archives.INDEX)], top, *blobs))
        self.registry.netns.run(
            *("skopeo", "copy", "--all", "--preserve-digests", "--insecure-policy", "--dest-tls-verify=false"),
            *(f"oci-archive:{path}", f"docker://{self.registry.host}/{name}"),
        )

    def docker(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self.daemon.cli("docker", *words, **options)

    def messages(self, path: str, tag: str = "latest", **query: str) -> list[dict[str, Any]]:
        """Pull by the API; return the messages."""
        parameters = "".join(f"&{name}={value}" for name, value in query.items())
        status, data = self.daemon.request("POST", f"/images/create?fromImage={path}&tag={tag}{parameters}")
        assert status == 200, data
        return [json.loads(line) for line in data.splitlines()]

    def partial(self) -> dict[str, int]:
        """Return the bytes of each partial blob."""
        return {path.name: path.stat().st_size for path in (self.daemon.data_root / "tmp").glob("partial/*")}

    def clear(self) -> None:
        """Remove all images, and forget what was asked."""
        for image in self.daemon.json("GET", "/images/json?all=1"):
            self.daemon.request("DELETE", f"/images/{image['Id']}?force=1")
        self.registry.slow_down(0)
        self.registry.requests()


@pytest.fixture(scope="module")
def _harbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harbour]:
    with ExitStack() as stack:
        netns = stack.enter_context(network_namespace())
        registry = stack.enter_context(docker_registry(netns))
        daemon = stack.enter_context(running_daemon("--max-concurrent-downloads=2", netns=netns))
        yield Harbour(daemon, registry, tmp_path_factory.mktemp("harbour"))


@pytest.fixture(scope="module")
def _hard_to_pull(_harbour: Harbour) -> None:
    """What the registry has for pulls that fail."""
    _harbour.push("here:latest", SMALL)
    _harbour.push_index("many:latest", amd64=Image([SMALL]), arm64=Image([SMALL], architecture="arm64"))
    _harbour.registry.put(_harbour.directory / "image.tar", "old:latest", "--format", "v2s1")


@pytest.fixture
def harbour(_harbour: Harbour) -> Iterator[Harbour]:
    yield _harbour
    _harbour.clear()


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines(text: str) -> list[str]:
    """Return the lines of a pull, with the digits of digests left out."""
    return [re.sub(r"[0-9a-f]{64}", "…", re.sub(r"^[0-9a-f]{12}: ", "layer: ", line)) for line in text.splitlines()]


def test_docker_pull_says_what_it_always_said(harbour: Harbour) -> None:
    harbour.push("said:latest", SMALL)
    name = f"{harbour.registry.host}/said"
    assert lines(harbour.docker("pull", name).stdout) == [
        "Using default tag: latest",
        "latest: Pulling from said",
        "layer: Pulling fs layer",
        "layer: Verifying Checksum",
        "layer: Download complete",
        "layer: Pull complete",
        "Digest: sha256:…",
        f"Status: Downloaded newer image for {name}:latest",
        f"{name}:latest",
    ]
    assert lines(harbour.docker("pull", name).stdout)[1:4] == [
        "latest: Pulling from said",
        "Digest: sha256:…",
        f"Status: Image is up to date for {name}:latest",
    ]
    harbour.docker("tag", name, "other")
    harbour.docker("rmi", name)
    again = lines(harbour.docker("pull", name).stdout)
    assert again[2:4] == ["Digest: sha256:…", f"Status: Downloaded newer image for {name}:latest"]


@pytest.mark.parametrize("program", ["docker", "orlop"])
def test_run_begins_from_nothing(harbour: Harbour, image_archive: Path, program: str) -> None:
    harbour.registry.put(image_archive, "busybox:latest")
    name = f"{harbour.registry.host}/busybox"
    done = harbour.daemon.cli(program, "run", "--rm", name, "echo", "ahoy")
    assert done.stdout == "ahoy\n"
    assert f"Unable to find image '{name}:latest' locally" in done.stderr
    assert f"Status: Downloaded newer image for {name}:latest" in done.stderr


_NO_SCHEMA_1 = (
    "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. "
    "Suggest the author of {host}/old:latest to upgrade the image to the OCI Format or Docker Image manifest v2, "
    "schema 2. More information at https://docs.docker.com/go/deprecated-image-specs/"
)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{host}/nix", "manifest for {host}/nix:latest not found: manifest unknown: manifest unknown"),
        ("{host}/here:nix", "manifest for {host}/here:nix not found: manifest unknown: manifest unknown"),
        ("scratch", "'scratch' is a reserved name"),
        ("--platform linux/s390x {host}/many", "no matching manifest for linux/s390x in the manifest list entries"),
        ("{host}/old", _NO_SCHEMA_1),
    ],
)
@pytest.mark.usefixtures("_hard_to_pull")
def test_docker_pull_fails_as_it_always_did(harbour: Harbour, words: str, message: str) -> None:
    host = harbour.registry.host
    done = harbour.docker("pull", *words.format(host=host).split(), check=False)
    assert done.returncode == 1
    text = message.format(host=host)
    assert done.stderr in (f"Error response from daemon: {text}\n", f"{text}\n")


def test_errors_before_the_first_message_have_a_status(harbour: Harbour) -> None:
    host = harbour.registry.host
    for query, status in [
        (f"fromImage={host}/nix&tag=1", 404),
        (f"fromImage={host}/nix&tag=", 404),
        ("fromImage=UPPER&tag=1", 400),
        (f"fromImage={host}/x&tag=1&platform=a/b/c/d", 400),
        ("fromImage=scratch&tag=latest", 403),
    ]:
        assert harbour.daemon.request("POST", f"/images/create?{query}")[0] == status, query


def test_a_second_pull_fetches_the_changed_layer_alone(harbour: Harbour) -> None:
    base = tree({"bin/big": noise(500_000, 1)})
    harbour.push("app:1", base, tree({"app": b"one"}))
    image = harbour.push("app:2", base, tree({"app": b"two"}))
    name = f"{harbour.registry.watched_host}/app"
    harbour.docker("pull", f"{name}:1")
    assert len(harbour.registry.blobs()) == 3
    output = harbour.docker("pull", f"{name}:2").stdout
    asked = harbour.registry.blobs()
    assert len(asked) == 2
    assert image.id in asked
    assert sum("Already exists" in line for line in output.splitlines()) == 1


def test_a_pull_of_what_is_here_asks_for_the_digest_only(harbour: Harbour) -> None:
    harbour.push("same:latest", SMALL)
    name = f"{harbour.registry.watched_host}/same"
    harbour.docker("pull", name)
    harbour.registry.requests()
    harbour.docker("pull", name)
    assert [line.split()[0] for line in harbour.registry.requests() if "/manifests/" in line] == ["HEAD"]


def test_a_daemon_that_is_killed_in_mid_pull_fetches_only_the_rest_afterwards(harbour: Harbour) -> None:
    daemon, registry = harbour.daemon, harbour.registry
    small, big = tree({"small": noise(20_000, 2)}), tree({"big": noise(6_000_000, 3)})
    image = harbour.push("killed:latest", small, big)
    registry.slow_down(1_500_000)
    name = f"{registry.watched_host}/killed"
    command, environment = daemon.command("docker")
    pulling = subprocess.Popen(
        [*command, "pull", name], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    wait(lambda: len(daemon_layers(daemon)) == 1 and max(harbour.partial().values(), default=0) > 2_000_000)
    daemon.kill()
    pulling.communicate(timeout=30)
    registry.requests()
    kept = harbour.partial()
    registry.slow_down(0)
    daemon.start()
    assert daemon_layers(daemon) == set()
    assert harbour.docker("pull", name).stdout.endswith(
        f"Status: Downloaded newer image for {name}:latest\n{name}:latest\n"
    )
    asked = registry.blobs()
    [(blob, span)] = [(blob, span) for blob, span in asked.items() if blob != image.id]
    assert span.startswith(f"bytes={kept[blob.replace(':', '-')]}-")
    assert daemon.json("GET", f"/images/{name}/json")["Id"] == image.id
    assert harbour.partial() == {}


def daemon_layers(daemon: Daemon) -> set[str]:
    return {path.name for path in (daemon.data_root / "layers").iterdir()} - {"empty"}


def test_two_pulls_at_once_share_what_they_have_in_common(harbour: Harbour) -> None:
    base = tree({"shared": noise(2_000_000, 4)})
    harbour.push("one:latest", base, tree({"one": b"1"}))
    harbour.push("two:latest", base, tree({"two": b"2"}))
    harbour.registry.slow_down(1_000_000)
    command, environment = harbour.daemon.command("docker")
    pulls = [
        subprocess.Popen(
            [*command, "pull", f"{harbour.registry.watched_host}/{name}"], env=environment, stdout=subprocess.PIPE
        )
        for name in ("one", "two")
    ]
    outputs = [pull.communicate(timeout=60)[0].decode() for pull in pulls]
    assert [pull.returncode for pull in pulls] == [0, 0], outputs
    asked = [line.split()[1].rpartition("/")[2] for line in harbour.registry.requests() if "/blobs/" in line]
    assert len(asked) == len(set(asked)) == 5


def test_a_client_that_goes_away_ends_its_pull_and_nobody_elses(harbour: Harbour) -> None:
    harbour.push("gone:latest", tree({"big": noise(4_000_000, 5)}))
    harbour.registry.slow_down(1_000_000)
    name = f"{harbour.registry.watched_host}/gone"
    command, environment = harbour.daemon.command("docker")
    first = subprocess.Popen([*command, "pull", name], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait(harbour.partial)
    second = subprocess.Popen([*command, "pull", name], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert second.stdout is not None
    assert any(b"Pulling fs layer" in line for line in iter(second.stdout.readline, b""))
    first.kill()
    first.communicate()
    assert second.communicate(timeout=60)[0].decode().count("Pull complete") == 1
    assert list(harbour.registry.blobs().values()) == ["", ""]
    harbour.docker("rmi", name)
    third = subprocess.Popen([*command, "pull", name], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait(lambda: sum(harbour.partial().values()) > 1_000_000)
    third.kill()
    third.communicate()
    wait(lambda: size_is_settled(harbour))
    assert harbour.daemon.json("GET", "/images/json") == []
    kept = sum(harbour.partial().values())
    assert kept > 0
    assert harbour.daemon.json("POST", "/images/prune")["SpaceReclaimed"] == kept
    assert harbour.partial() == {}


def size_is_settled(harbour: Harbour) -> bool:
    before = harbour.partial()
    time.sleep(0.5)
    return before == harbour.partial()


def test_a_tag_that_moved_leaves_the_old_image_without_it(harbour: Harbour) -> None:
    old = harbour.push("moved:latest", tree({"v": b"1"}))
    name = f"{harbour.registry.host}/moved"
    harbour.docker("pull", name)
    new = harbour.push("moved:latest", tree({"v": b"2"}))
    harbour.docker("pull", name)
    assert harbour.daemon.json("GET", f"/images/{name}/json")["Id"] == new.id
    before = harbour.daemon.json("GET", f"/images/{old.id}/json")
    assert before["RepoTags"] == []
    assert len(before["RepoDigests"]) == 1


def test_the_image_of_the_platform_is_chosen_and_named_by_the_digest_of_the_index(harbour: Harbour) -> None:
    amd64, arm64 = Image([SMALL]), Image([tree({"arm": b""})], architecture="arm64")
    harbour.push_index("index:latest", amd64=amd64, arm64=arm64)
    name = f"{harbour.registry.host}/index"
    output = harbour.docker("pull", name).stdout
    inspected = harbour.daemon.json("GET", f"/images/{name}/json")
    assert inspected["Id"] == amd64.id
    found = re.search(r"Digest: (\S+)", output)
    assert found is not None
    assert inspected["RepoDigests"] == [f"{name}@{found[1]}"]
    harbour.docker("pull", "--platform", "linux/arm64", name)
    assert harbour.daemon.json("GET", f"/images/{name}/json")["Id"] == arm64.id
    harbour.docker("pull", name)
    assert harbour.daemon.json("GET", f"/images/{name}/json")["Id"] == amd64.id


def test_an_image_for_another_platform_alone_is_pulled_with_a_warning(harbour: Harbour) -> None:
    harbour.push("foreign:latest", SMALL, architecture="arm64")
    name = f"{harbour.registry.host}/foreign"
    assert "WARNING" not in harbour.docker("pull", name).stdout
    output = harbour.docker("pull", "--platform", "linux/amd64", name).stdout
    assert (
        f"WARNING: image with reference {name}:latest was found but its platform (linux/arm64) "
        "does not match the specified platform (linux/amd64)\n"
    ) in output


def test_all_tags_are_pulled_and_each_can_be_had_by_its_digest(harbour: Harbour) -> None:
    for tag in ("1", "2"):
        harbour.push(f"tags:{tag}", tree({"v": tag.encode()}))
    name = f"{harbour.registry.host}/tags"
    output = lines(harbour.docker("pull", "--all-tags", name).stdout)
    assert sorted(line for line in output if "Pulling from" in line) == [
        "1: Pulling from tags",
        "2: Pulling from tags",
    ]
    assert output[-2:] == [f"Status: Downloaded newer image for {name}", name]
    [by_digest] = harbour.daemon.json("GET", f"/images/{name}:1/json")["RepoDigests"]
    harbour.clear()
    output = harbour.docker("pull", by_digest).stdout.splitlines()
    assert output[0] == f"{by_digest}: Pulling from tags"
    assert output[-2] == f"Status: Downloaded newer image for {by_digest}"
    [image] = harbour.daemon.json("GET", "/images/json")
    assert (image["RepoTags"], image["RepoDigests"]) == ([], [by_digest])


def test_messages_have_dockers_form_and_true_numbers(harbour: Harbour) -> None:
    harbour.push("form:latest", tree({"f": noise(300_000, 6)}))
    harbour.registry.slow_down(500_000)
    messages = harbour.messages(f"{harbour.registry.watched_host}/form")
    assert messages[0] == {"status": "Pulling from form", "id": "latest"}
    assert messages[1]["status"] == "Pulling fs layer"
    assert messages[1]["progressDetail"] == {}
    counted = [message["progressDetail"] for message in messages if message["status"] == "Downloading"]
    assert len(counted) > 2
    assert counted == sorted(counted, key=lambda detail: detail["current"])
    assert counted[-1]["current"] == counted[-1]["total"] > 300_000
    assert set(messages[-2]) == {"status"}


def test_docker_py_pulls_one_or_all_and_hears_of_it(harbour: Harbour) -> None:
    docker = pytest.importorskip("docker")
    image = harbour.push("py:1", SMALL, config={"Labels": {"a": "b"}})
    harbour.push("py:2", tree({"2": b""}))
    name = f"{harbour.registry.host}/py"
    client = docker.DockerClient(base_url=harbour.daemon.host)
    try:
        before = time.time()
        assert client.images.pull(name, tag="1").id == image.id
        assert len(client.images.pull(name, all_tags=True)) == 2
        with pytest.raises(docker.errors.NotFound, match="manifest unknown"):
            client.images.pull(name, tag="3")
        assert client.images.get_registry_data(f"{name}:1").attrs["Platforms"] == [
            {"architecture": "amd64", "os": "linux"}
        ]
        events = client.events(decode=True, since=int(before), until=int(time.time()) + 1, filters={"event": "pull"})
        assert [event["Actor"] for event in events if event["Actor"]["ID"].startswith(name)] == [
            {"ID": f"{name}:1", "Attributes": {"a": "b", "name": name}},
            {"ID": name, "Attributes": {"name": name}},
        ]
    finally:
        client.close()


def test_foreign_layers_are_refused(harbour: Harbour) -> None:
    image = Image([SMALL])
    foreign = {**descriptor(SMALL, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), "urls": ["http://x/"]}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(image.document, CONFIG),
        "layers": [foreign],
    }
    harbour.push_index("foreigner:latest", amd64=image)  # brings the configuration
    path = harbour.directory / "manifest.json"
    path.write_text(json.dumps(manifest))
    harbour.registry.netns.run(
        *("curl", "-sf", "-X", "PUT", "-H", f"Content-Type: {MANIFEST}", "--data-binary", f"@{path}"),
        f"http://127.0.0.1:{harbour.registry.port}/v2/foreigner/manifests/latest",
    )
    done = harbour.docker("pull", f"{harbour.registry.host}/foreigner", check=False)
    assert "is foreign" in done.stderr


def test_distribution_tells_what_a_registry_has(harbour: Harbour) -> None:
    host = harbour.registry.host
    harbour.push_index("dist:latest", amd64=Image([SMALL]), arm64=Image([SMALL], architecture="arm64"))
    document = harbour.daemon.json("GET", f"/distribution/{host}/dist/json")
    assert document["Descriptor"]["mediaType"] == archives.INDEX
    assert document["Platforms"] == [{"architecture": name, "os": "linux"} for name in ("amd64", "arm64")]
    for name, answer in [
        (f"{host}/nix", (404, b'{"message":"manifest unknown: manifest unknown"}\n')),
        ("a" * 64, (500, b'{"message":"no manifest found for full image ID"}\n')),
    ]:
        assert harbour.daemon.request("GET", f"/distribution/{name}/json") == answer


def test_search_says_that_a_registry_has_none(harbour: Harbour) -> None:
    status, data = harbour.daemon.request("GET", f"/images/search?term={harbour.registry.host}/x")
    assert (status, b"Unexpected status code 404" in data) == (500, True)
    status, data = harbour.daemon.request("GET", "/images/search?term=x&limit=101")
    assert (status, data) == (400, b'{"message":"limit 101 is outside the range of [1, 100]"}\n')


def test_mirrors_are_asked_first_once_the_configuration_says_so(harbour: Harbour, image_archive: Path) -> None:
    daemon = harbour.daemon
    harbour.registry.put(image_archive, "library/mirrored:latest")
    configuration = {
        "registry-mirrors": [f"http://{harbour.registry.watched_host}"],
        "insecure-registries": ["10.9.0.0/16", "registry.example:5000"],
    }
    (daemon.root / "daemon.json").write_text(json.dumps(configuration))
    daemon.request("GET", "/_ping")
    daemon.process.send_signal(1)  # type: ignore[union-attr] # it runs
    wait(lambda: daemon.json("GET", "/info")["RegistryConfig"]["Mirrors"])
    registries = daemon.json("GET", "/info")["RegistryConfig"]
    assert registries["Mirrors"] == configuration["registry-mirrors"]
    assert "10.9.0.0/16" in registries["InsecureRegistryCIDRs"]
    assert registries["IndexConfigs"]["registry.example:5000"]["Secure"] is False
    assert harbour.docker("pull", "mirrored").stdout.endswith("docker.io/library/mirrored:latest\n")
    (daemon.root / "daemon.json").write_text("{}")
    daemon.process.send_signal(1)  # type: ignore[union-attr] # it runs
    wait(lambda: not daemon.json("GET", "/info")["RegistryConfig"]["Mirrors"])
