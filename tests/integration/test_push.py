"""Pushing to a real registry, by the real docker command, and what others then pull of it."""

from __future__ import annotations

import gzip
import json
import lzma
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support import archives
from support.archives import Image, tree
from support.daemon import Daemon
from support.daemon import daemon as running_daemon
from support.dockerd import dockerd
from support.netns import network_namespace
from support.registry import DockerRegistry, docker_registry

pytestmark = [pytest.mark.root, pytest.mark.docker]

Json = dict[str, Any]


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


BASE = tree({"etc/base": b"base" * 1000})
BIG = tree({"opt/noise": noise(3_000_000, 1), "opt/zeros": bytes(3_000_000)})
HANGS_UP = """
import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/v2/" else 404)
        self.end_headers()

    do_HEAD = do_GET

    def do_POST(self):
        self.send_response(202)
        self.send_header("Location", "/up")
        self.end_headers()

    def do_PUT(self):
        self.rfile.read(1000)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 7000), Handler)
print("up", flush=True)
server.serve_forever()
"""


class Harbour:
    """A daemon and a registry that share a network namespace."""

    def __init__(self, daemon: Daemon, registry: DockerRegistry, directory: Path) -> None:
        self.daemon = daemon
        self.registry = registry
        self.directory = directory

    def load(self, *layers: bytes, name: str) -> Image:
        """Load an image of plain layers."""
        image = Image(list(layers), [f"{self.registry.host}/{name}"])
        self.load_archive(archives.docker_archive(image))
        return image

    def load_archive(self, data: bytes) -> None:
        path = self.directory / "image.tar"
        path.write_bytes(data)
        self.daemon.load(path)

    def docker(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.daemon.cli("docker", *words, check=check)

    def push(self, name: str, *options: str) -> list[str]:
        """Push ``name`` by docker; return the lines, with the digits of digests left out."""
        done = self.docker("push", *options, f"{self.registry.host}/{name}")
        return [
            re.sub(r"[0-9a-f]{64} size: \d+", "…", re.sub(r"^[0-9a-f]{12}: ", "layer: ", line))
            for line in done.stdout.splitlines()
        ]

    def messages(self, name: str, tag: str = "") -> list[Json]:
        """Push by the API; return the messages."""
        status, data = self.daemon.request("POST", f"/images/{self.registry.host}/{name}/push?tag={tag}")
        assert status == 200, data
        return [json.loads(line) for line in data.splitlines()]

    def skopeo(self, *words: str) -> str:
        return self.registry.netns.run("skopeo", *words, timeout=60).stdout

    def manifest(self, name: str) -> tuple[str, Json]:
        """Return the digest and the manifest that the registry has under a name."""
        address = f"docker://{self.registry.host}/{name}"
        raw = self.skopeo("inspect", "--tls-verify=false", "--raw", address)
        return archives.digest(raw.encode()), json.loads(raw)

    def clear(self) -> None:
        for image in self.daemon.json("GET", "/images/json?all=1"):
            self.daemon.request("DELETE", f"/images/{image['Id']}?force=1")
        left = [path for path in (self.daemon.data_root / "content").rglob("*") if path.is_file()]
        assert left == [], "no blob outlives its images"


@pytest.fixture(scope="module")
def _harbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harbour]:
    with ExitStack() as stack:
        netns = stack.enter_context(network_namespace())
        registry = stack.enter_context(docker_registry(netns))
        daemon = stack.enter_context(
            running_daemon("--max-concurrent-uploads=2", "--max-download-attempts=3", netns=netns)
        )
        yield Harbour(daemon, registry, tmp_path_factory.mktemp("harbour"))


@pytest.fixture
def harbour(_harbour: Harbour) -> Iterator[Harbour]:
    yield _harbour
    _harbour.clear()


def test_docker_push_says_what_it_always_said(harbour: Harbour) -> None:
    harbour.load(BASE, BIG, name="said:a")
    said = [f"The push refers to repository [{harbour.registry.host}/said]", "layer: Preparing", "layer: Preparing"]
    first = harbour.push("said:a")
    assert first[:3] == said
    assert first[3:] == ["layer: Pushed", "layer: Pushed", "a: digest: sha256:…"]
    present = ["layer: Layer already exists", "layer: Layer already exists"]
    assert harbour.push("said:a") == [*said, *present, "a: digest: sha256:…"]
    harbour.docker("tag", f"{harbour.registry.host}/said:a", f"{harbour.registry.host}/deep/other:b")
    mounted = ["layer: Mounted from said", "layer: Mounted from said"]
    assert harbour.push("deep/other:b")[3:] == [*mounted, "b: digest: sha256:…"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{host}/absent:x", "An image does not exist locally with the tag: {host}/absent"),
        ("{host}/here:absent", "tag does not exist: {host}/here:absent"),
        ("localhost:1/here:x", 'Get "http://localhost:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused'),
    ],
)
def test_docker_push_fails_as_it_always_did(harbour: Harbour, name: str, message: str) -> None:
    host = harbour.registry.host
    harbour.load(BASE, name="here:x")
    harbour.docker("tag", f"{host}/here:x", "localhost:1/here:x")
    done = harbour.docker("push", name.format(host=host), check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == message.format(host=host)
    repository = name.format(host=host).rpartition(":")[0]
    assert done.stdout.splitlines() == [f"The push refers to repository [{repository}]"]


def test_a_push_that_makes_no_sense_has_a_status(harbour: Harbour) -> None:
    harbour.load(BASE, name="here:x")
    host = harbour.registry.host
    status, data = harbour.daemon.request("POST", f"/images/{host}/here@sha256:{'0' * 64}/push")
    assert (status, json.loads(data)["message"]) == (400, "cannot push a digest reference")
    platform = '{"os":"linux","architecture":"arm64"}'.replace('"', "%22")
    status, data = harbour.daemon.request("POST", f"/images/{host}/here/push?tag=x&platform={platform}")
    assert status == 404
    assert "does not provide the specified platform (linux/arm64)" in json.loads(data)["message"]


def test_messages_have_dockers_form_and_true_numbers(harbour: Harbour) -> None:
    harbour.load(BASE, BIG, name="numbers:x")
    messages = harbour.messages("numbers", "x")
    digest, manifest = harbour.manifest("numbers:x")
    id = archives.digest(BIG).removeprefix("sha256:")[:12]
    pushing = [message for message in messages if message.get("status") == "Pushing"]
    totals = {message["progressDetail"]["total"] for message in pushing if message["id"] == id}
    assert totals == {manifest["layers"][1]["size"]}
    assert messages[-2]["status"].startswith(f"x: digest: {digest} size: ")
    size = int(messages[-2]["status"].rpartition(" ")[2])
    assert messages[-1] == {"progressDetail": {}, "aux": {"Tag": "x", "Digest": digest, "Size": size}}


def test_all_tags_are_pushed_when_none_is_named(harbour: Harbour) -> None:
    harbour.load(BASE, name="tags:one")
    harbour.load(BASE, BIG, name="tags:two")
    harbour.push("tags", "--all-tags")
    listed = json.loads(harbour.skopeo("list-tags", "--tls-verify=false", f"docker://{harbour.registry.host}/tags"))
    assert listed["Tags"] == ["one", "two"]
    assert len(harbour.manifest("tags:two")[1]["layers"]) == 2


def test_what_skopeo_podman_and_dockerd_pull_is_the_image(harbour: Harbour, image_archive: Path) -> None:
    host, netns = harbour.registry.host, harbour.registry.netns
    harbour.daemon.load(image_archive)
    harbour.docker("tag", "busybox:latest", f"{host}/others/busybox:x")
    pushed = harbour.docker("push", f"{host}/others/busybox:x").stdout
    digest, manifest = harbour.manifest("others/busybox:x")
    assert f"x: digest: {digest} size: " in pushed
    id = harbour.docker("image", "inspect", "-f", "{{.Id}}", "busybox:latest").stdout.strip()
    assert manifest["config"]["digest"] == id
    assert {layer["mediaType"] for layer in manifest["layers"]} == {archives.LAYER + "+gzip"}
    names = harbour.docker("image", "inspect", "-f", "{{.RepoDigests}}", "busybox:latest").stdout.strip()
    assert names == f"[{host}/others/busybox@{digest}]"
    shown = json.loads(harbour.skopeo("inspect", "--tls-verify=false", f"docker://{host}/others/busybox:x"))
    assert (shown["Digest"], shown["Architecture"]) == (digest, "amd64")
    if shutil.which("podman"):
        policy = harbour.directory / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        home = harbour.directory / "podman"
        podman = ("podman", "--root", home / "root", "--runroot", home / "run", "--storage-driver=vfs")
        options = ("pull", "-q", "--signature-policy", policy, "--tls-verify=false")
        pulled = netns.run(*podman, *options, f"{host}/others/busybox:x", timeout=120).stdout.split()[-1]
        assert pulled == id.removeprefix("sha256:")
        netns.run(*podman, "rmi", "-fa", timeout=60)
    with dockerd(netns) as engine:
        assert f"Digest: {digest}" in engine.run("pull", f"{host}/others/busybox:x").stdout
        assert engine.run("image", "inspect", "-f", "{{.Id}}", f"{host}/others/busybox:x").stdout.strip() == id
        ran = engine.run("run", "--rm", "--network=none", f"{host}/others/busybox:x", "echo", "hello")
        assert ran.stdout == "hello\n"


def test_a_pulled_image_goes_on_byte_for_byte(harbour: Harbour) -> None:
    image = Image([BASE, BIG], ["x/pulled:v2"])
    path = harbour.directory / "pulled.tar"
    path.write_bytes(archives.docker_archive(image))
    harbour.registry.put(path, "pulled:v2", "--format", "v2s2")
    host = harbour.registry.host
    before, manifest = harbour.manifest("pulled:v2")
    assert manifest["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    harbour.docker("pull", "-q", f"{host}/pulled:v2")
    harbour.docker("tag", f"{host}/pulled:v2", f"{host}/farther:v2")
    assert "layer: Mounted from pulled" in harbour.push("farther:v2")
    assert harbour.manifest("farther:v2")[0] == before


def test_an_image_whose_layer_came_from_elsewhere_first_still_goes_byte_for_byte(harbour: Harbour) -> None:
    host = harbour.registry.host
    both = Image([BASE, BIG], ["x/shared:v1"])
    path = harbour.directory / "shared.tar"
    path.write_bytes(archives.docker_archive(both))
    harbour.registry.put(path, "shared:v1")
    before, _ = harbour.manifest("shared:v1")
    harbour.load(BASE, name="first:x")  # so the pull need not fetch this layer, and has not its blob
    harbour.docker("pull", "-q", f"{host}/shared:v1")
    harbour.docker("tag", f"{host}/shared:v1", f"{host}/away/shared:v1")
    harbour.push("away/shared:v1")
    assert harbour.manifest("away/shared:v1")[0] == before


@pytest.mark.parametrize("suffix", ["", "+gzip", "+xz"])
def test_a_layer_is_pushed_in_gzip_however_it_came_and_stays_so(harbour: Harbour, suffix: str) -> None:
    image = Image([BIG])
    stored = {"": BIG, "+gzip": gzip.compress(BIG, mtime=0), "+xz": lzma.compress(BIG, preset=0)}[suffix]
    name = {"io.containerd.image.name": f"{harbour.registry.host}/form:x"}
    manifest = archives.manifest(image, [(stored, "" if suffix == "+xz" else suffix)])
    top = archives.descriptor(manifest, archives.MANIFEST, annotations=name)
    harbour.load_archive(archives.oci_layout([top], manifest, image.document, stored))
    blobs = harbour.daemon.data_root / "content/sha256"
    assert "layer: Pushed" in harbour.push("form:x")
    (layer,) = harbour.manifest("form:x")[1]["layers"]
    kept = (blobs / layer["digest"].removeprefix("sha256:")).read_bytes()
    assert gzip.decompress(kept) == BIG
    assert (kept == stored) is (suffix == "+gzip")
    assert len(list(blobs.iterdir())) == 3, "configuration, manifest and one form of the layer"
    check = harbour.daemon.cli("orlop", "system", "check")
    assert "sound" in check.stdout
    harbour.daemon.restart()
    assert "layer: Layer already exists" in harbour.push("form:x")
    saved = harbour.directory / "saved.tar"
    harbour.docker("save", "-o", str(saved), f"{harbour.registry.host}/form:x")
    harbour.docker("rmi", f"{harbour.registry.host}/form:x")
    assert (
        image.id
        in harbour.docker("load", "-q", "-i", str(saved)).stdout + harbour.docker("images", "-q", "--no-trunc").stdout
    )


def test_a_push_is_an_event(harbour: Harbour) -> None:
    harbour.load(BASE, name="event:x")
    harbour.push("event:x")
    host = harbour.registry.host
    now = harbour.daemon.json("GET", "/info")["SystemTime"]
    status, data = harbour.daemon.request(
        "GET", f"/events?since=0&until={now}&filters=%7B%22event%22:%5B%22push%22%5D%7D"
    )
    last = json.loads(data.splitlines()[-1])
    assert status == 200
    assert (last["Action"], last["Actor"]["ID"]) == ("push", f"{host}/event:x")
    assert last["Actor"]["Attributes"]["name"] == f"{host}/event"


def test_docker_logs_in_and_pushes_where_a_password_is_wanted(tmp_path: Path) -> None:
    if shutil.which("htpasswd") is None:
        pytest.skip("needs htpasswd")
    passwords = tmp_path / "htpasswd"
    subprocess.run(["htpasswd", "-Bbc", passwords, "ann", "hush"], check=True, capture_output=True)
    with network_namespace() as netns, docker_registry(netns, htpasswd=passwords) as registry:
        with running_daemon(netns=netns) as daemon:
            harbour = Harbour(daemon, registry, tmp_path)
            harbour.load(BASE, name="private:x")
            done = harbour.docker("push", f"{registry.host}/private:x", check=False)
            assert (done.returncode, done.stderr.strip()) == (1, "no basic auth credentials")
            daemon.cli("docker", "login", "-u", "ann", "--password-stdin", registry.host, input="hush")
            assert harbour.push("private:x")[-1] == "x: digest: sha256:…"
            wrong = daemon.cli(
                "docker", "login", "-u", "ann", "--password-stdin", registry.host, input="no", check=False
            )
            assert "401 Unauthorized" in wrong.stderr
            assert "hush" not in daemon.log.read_text()


def test_a_registry_that_goes_away_in_mid_push_leaves_nothing(harbour: Harbour) -> None:
    """A registry that hangs up on the layer's upload: a clear error, and the image is as it was."""
    server = subprocess.Popen(
        harbour.registry.netns.command(sys.executable, "-c", HANGS_UP),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        harbour.load(BIG, name="kept:x")
        harbour.docker("tag", f"{harbour.registry.host}/kept:x", "localhost:7000/kept:x")
        done = harbour.docker("push", "localhost:7000/kept:x", check=False)
        assert done.returncode == 1
        assert done.stderr.strip().startswith('Put "http://localhost:7000/up": ')
    finally:
        server.kill()
        server.wait()
    assert "sound" in harbour.daemon.cli("orlop", "system", "check").stdout
    assert harbour.push("kept:x")[-1] == "x: digest: sha256:…"
