"""The images that builds stand on: pulled with the client's credentials, for any platform, and never in users' way."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker as sdk
import pytest
from docker.errors import BuildError

from support import archives
from support.archives import Image, descriptor, tree
from support.daemon import Daemon
from support.daemon import daemon as running_daemon
from support.netns import network_namespace
from support.registry import DockerRegistry, docker_registry

pytestmark = [pytest.mark.root, pytest.mark.docker]

HOST = "localhost:5000"
Json = dict[str, Any]


class Yard:
    """A daemon beside a registry that wants a password."""

    def __init__(self, daemon: Daemon, registry: DockerRegistry, directory: Path) -> None:
        self.daemon = daemon
        self.registry = registry
        self.directory = directory
        self.client = sdk.DockerClient(base_url=daemon.host, timeout=60)

    def push(self, name: str, image: Image) -> None:
        path = self.directory / "image.tar"
        path.write_bytes(archives.docker_archive(image))
        self.registry.put(path, name, "--dest-creds=ann:secret")

    def push_index(self, name: str, **images: Image) -> None:
        entries, blobs = [], []
        for architecture, image in images.items():
            manifest = archives.manifest(image)
            platform = {"os": "linux", "architecture": architecture}
            entries.append(descriptor(manifest, archives.MANIFEST, platform=platform))
            blobs += [manifest, image.document, *image.layers]
        top = archives.index(entries)
        path = self.directory / "layout.tar"
        path.write_bytes(archives.oci_layout([descriptor(top, archives.INDEX)], top, *blobs))
        self.registry.netns.run(
            *("skopeo", "copy", "--all", "--preserve-digests", "--insecure-policy", "--dest-tls-verify=false"),
            *("--dest-creds=ann:secret", f"oci-archive:{path}", f"docker://{HOST}/{name}"),
        )

    def build(self, dockerfile: str, *, user: str = "ann", **options: Any) -> tuple[str, list[Json]]:
        """Build; return the id of the image and the messages."""
        configs = {f"https://{HOST}/v2/": {"username": user, "password": "secret"}}
        header = {"X-Registry-Config": urlsafe_b64encode(json.dumps(configs).encode()).decode()}
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            member = tarfile.TarInfo("Dockerfile")
            member.size = len(dockerfile)
            tar.addfile(member, io.BytesIO(dockerfile.encode()))
        url = self.client.api._url("/build")
        answer = self.client.api.post(url, data=data.getvalue(), params=options, headers=header)
        assert answer.status_code == 200, answer.text
        messages = [json.loads(line) for line in answer.text.splitlines()]
        ids = [message["aux"]["ID"] for message in messages if "aux" in message]
        return (ids[0] if ids else ""), messages

    def clear(self) -> None:
        for image in self.daemon.json("GET", "/images/json?all=1"):
            self.daemon.request("DELETE", f"/images/{image['Id']}?force=1")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    if shutil.which("htpasswd") is None:
        pytest.skip("needs htpasswd")
    directory = tmp_path_factory.mktemp("yard")
    users = directory / "users"
    with ExitStack() as stack:
        made = subprocess.run(["htpasswd", "-Bbn", "ann", "secret"], capture_output=True, check=True)
        users.write_bytes(made.stdout)
        netns = stack.enter_context(network_namespace())
        registry = stack.enter_context(docker_registry(netns, htpasswd=users))
        yield Yard(stack.enter_context(running_daemon(netns=netns)), registry, directory)


@pytest.fixture
def yard(opened: Yard) -> Iterator[Yard]:
    yield opened
    opened.clear()


SMALL = tree({"etc/motd": b"hello"})


def test_a_base_that_is_not_here_is_pulled_with_its_progress(yard: Yard) -> None:
    yard.push("base:1", Image([SMALL], config={"Env": ["FROM=base"]}))
    built, messages = yard.build(f"FROM {HOST}/base:1\nLABEL a=b\n")
    statuses = [message["status"] for message in messages if "status" in message]
    assert statuses[0] == "Pulling from base"
    assert "Pull complete" in statuses
    assert statuses[-1] == f"Status: Downloaded newer image for {HOST}/base:1"
    found = yard.daemon.json("GET", f"/images/{built}/json")
    assert found["Config"]["Env"][0] == "FROM=base"
    assert found["Parent"] == yard.daemon.json("GET", f"/images/{HOST}/base:1/json")["Id"]
    again, messages = yard.build(f"FROM {HOST}/base:1\nLABEL a=b\n")
    assert again == built
    assert not any("status" in message for message in messages)


def test_pull_asks_the_registry_although_the_base_is_here(yard: Yard) -> None:
    yard.push("moving:1", Image([SMALL], config={"Env": ["V=1"]}))
    first, _ = yard.build(f"FROM {HOST}/moving:1\nLABEL a=b\n")
    yard.push("moving:1", Image([SMALL], config={"Env": ["V=2"]}))
    assert yard.build(f"FROM {HOST}/moving:1\nLABEL a=b\n")[0] == first
    assert yard.build(f"FROM {HOST}/moving:1\nLABEL a=b\n", pull="1")[0] != first


def test_wrong_credentials_and_missing_images_end_the_stream(yard: Yard) -> None:
    yard.push("secret:1", Image([SMALL]))
    for dockerfile, user in ((f"FROM {HOST}/secret:1\n", "bob"), (f"FROM {HOST}/nothing:1\n", "ann")):
        built, messages = yard.build(dockerfile, user=user)
        assert not built
        assert set(messages[-1]) == {"error", "errorDetail"}


def test_another_platform_s_image_takes_nobody_s_name(yard: Yard) -> None:
    images = {
        name: Image([tree({"arch": name.encode()})], architecture=name, config={"Env": [f"ARCH={name}"]})
        for name in ("amd64", "arm64")
    }
    yard.push_index("many:1", **images)
    native, _ = yard.build(f"FROM {HOST}/many:1\nLABEL a=b\n")
    dockerfile = f"FROM {HOST}/many:1\nWORKDIR /made\nCOPY Dockerfile .\nLABEL a=b\n"
    foreign, _ = yard.build(dockerfile, platform="linux/arm64")
    own = yard.daemon.json("GET", f"/images/{HOST}/many:1/json")
    assert own["Architecture"] == "amd64"
    found = yard.daemon.json("GET", f"/images/{foreign}/json")
    assert (found["Architecture"], found["Config"]["Env"][0]) == ("arm64", "ARCH=arm64")
    assert yard.daemon.json("GET", f"/images/{native}/json")["Architecture"] == "amd64"
    assert yard.build(dockerfile, platform="linux/arm64")[0] == foreign


def test_a_command_for_a_platform_without_an_emulator_says_so(yard: Yard) -> None:
    yard.push_index("arm:1", arm64=Image([SMALL], architecture="arm64"))
    _, messages = yard.build(f"FROM --platform=linux/arm64 {HOST}/arm:1\nRUN true\n")
    assert "linux/arm64" in messages[-1]["error"]
    assert "emulator" in messages[-1]["error"]


def test_triggers_of_a_base_are_carried_out(yard: Yard) -> None:
    yard.push("triggers:1", Image([SMALL], config={"OnBuild": ["COPY Dockerfile /copied", "LABEL l=m"]}))
    built, messages = yard.build(f"FROM {HOST}/triggers:1\nENV x=y\n")
    found = yard.daemon.json("GET", f"/images/{built}/json")
    assert found["Config"]["Labels"] == {"l": "m"}
    assert not found["Config"].get("OnBuild")
    assert len(found["RootFS"]["Layers"]) == 2
    assert "Step 2/4 : COPY Dockerfile /copied" in "".join(message.get("stream", "") for message in messages)


def test_a_docker_py_build_of_nothing_known_is_a_build_error(yard: Yard) -> None:
    with pytest.raises(BuildError):
        yard.client.images.build(fileobj=io.BytesIO(f"FROM {HOST}/nothing\n".encode()))
