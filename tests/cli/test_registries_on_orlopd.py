"""`orlop` with a real daemon and Debian's registry: who may do what, and what is there."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import archives
from support.archives import MANIFEST, Image, descriptor, tree
from support.daemon import Daemon
from support.daemon import daemon as running_daemon
from support.registry import DockerRegistry, docker_registry

pytestmark = [pytest.mark.root, pytest.mark.docker]

LOGIN = ("login", "-u", "me", "--password-stdin", "localhost:5000")


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory, image_archive: Path) -> Iterator[tuple[Daemon, DockerRegistry]]:
    """A daemon and a registry that knows one user, with a namespace of their own."""
    if shutil.which("htpasswd") is None:
        pytest.skip("needs htpasswd")
    users = tmp_path_factory.mktemp("users") / "htpasswd"
    subprocess.run(["htpasswd", "-cBb", users, "me", "s<cret"], check=True, capture_output=True)
    with running_daemon() as daemon, docker_registry(daemon.netns, htpasswd=users) as registry:
        daemon.load(image_archive)
        yield daemon, registry


@pytest.fixture
def logged_in(harbour: tuple[Daemon, DockerRegistry]) -> Iterator[None]:
    daemon, _ = harbour
    assert daemon.cli("orlop", *LOGIN, input="s<cret\n").stdout == "Login Succeeded\n"
    yield
    daemon.cli("orlop", "logout", "localhost:5000")


def test_who_is_not_logged_in_is_denied(harbour: tuple[Daemon, DockerRegistry], tmp_path: Path) -> None:
    daemon, registry = harbour
    name = f"{registry.host}/secret/thing:v1"
    put(registry, tmp_path, "secret/thing:v1")
    wrong = daemon.cli("orlop", *LOGIN, input="wrong", check=False)
    assert wrong.returncode == 1
    assert "401 Unauthorized" in wrong.stderr
    denied = (("pull", name), ("run", "--rm", name), ("manifest", "inspect", name))
    for words in denied:
        refused = daemon.cli("orlop", *words, check=False)
        assert refused.returncode in (1, 125)
        assert "no basic auth credentials" in refused.stderr
    assert daemon.cli("orlop", *LOGIN, input="s<cret\n").stdout == "Login Succeeded\n"
    assert daemon.cli("orlop", "login", registry.host).stdout == "Login Succeeded\n"
    assert daemon.cli("orlop", "pull", "-q", name).stdout == f"{name}\n"
    assert "Image is up to date" in daemon.cli("docker", "pull", name).stdout  # with the same credentials
    assert "Removing login credentials" in daemon.cli("orlop", "logout", registry.host).stdout
    daemon.cli("orlop", "rmi", name)
    assert daemon.cli("orlop", "pull", name, check=False).returncode == 1


@pytest.mark.usefixtures("logged_in")
def test_an_image_goes_out_and_comes_back(harbour: tuple[Daemon, DockerRegistry]) -> None:
    daemon, registry = harbour
    name = f"{registry.host}/team/busybox:v1"
    daemon.cli("orlop", "tag", "busybox", name)
    before = daemon.cli("orlop", "image", "inspect", "-f", "{{.Id}}", name).stdout
    pushed = daemon.cli("orlop", "push", name).stdout
    assert pushed.startswith(f"The push refers to repository [{registry.host}/team/busybox]\n")
    digest = pushed.rsplit("digest: ", 1)[1].split()[0]
    assert "Layer already exists" in daemon.cli("docker", "push", name).stdout
    daemon.cli("orlop", "rmi", name)
    pulled = daemon.cli("orlop", "pull", name).stdout
    assert f"Digest: {digest}\n" in pulled
    assert pulled.endswith(f"\n{name}\n")
    assert daemon.cli("orlop", "image", "inspect", "-f", "{{.Id}}", name).stdout == before
    shown = json.loads(daemon.cli("orlop", "manifest", "inspect", "-v", name).stdout)
    assert shown["Descriptor"]["digest"] == digest
    assert daemon.cli("orlop", "run", "--rm", "--pull", "always", "-q", name, "echo", "here").stdout == "here\n"
    daemon.cli("orlop", "logout", registry.host)
    denied = daemon.cli("orlop", "push", name, check=False)
    assert denied.returncode == 1
    assert "no basic auth credentials" in denied.stderr


def put(registry: DockerRegistry, directory: Path, name: str, *options: str) -> None:
    path = directory / "image.tar"
    path.write_bytes(archives.docker_archive(Image([tree({"a": b"<&>"})], ["x/y"])))
    registry.put(path, name, "--dest-creds=me:s<cret", *options)


def put_index(registry: DockerRegistry, directory: Path, name: str) -> None:
    entries, blobs = [], []
    for architecture in ("amd64", "arm64"):
        image = Image([tree({"a": architecture.encode()})], [], architecture=architecture)
        manifest = archives.manifest(image)
        entries.append(descriptor(manifest, MANIFEST, platform={"os": "linux", "architecture": architecture}))
        blobs += [manifest, image.document, *image.layers]
    top = archives.index(entries)
    path = directory / "layout.tar"
    path.write_bytes(archives.oci_layout([descriptor(top, archives.INDEX)], top, *blobs))
    registry.netns.run(
        *("skopeo", "copy", "--all", "--preserve-digests", "--insecure-policy", "--dest-tls-verify=false"),
        *("--dest-creds=me:s<cret", f"oci-archive:{path}", f"docker://{registry.host}/{name}"),
    )


@pytest.mark.usefixtures("logged_in")
@pytest.mark.parametrize("kind", ["v2s2", "oci", "index"])
def test_manifests_are_shown_as_docker_shows_them(
    harbour: tuple[Daemon, DockerRegistry], tmp_path: Path, kind: str
) -> None:
    daemon, registry = harbour
    name = f"shown/{kind}:latest"
    if kind == "index":
        put_index(registry, tmp_path, name)
    else:
        put(registry, tmp_path, name, f"--format={kind}")
    for flags in ((), ("-v",)):
        ours = daemon.cli("orlop", "manifest", "inspect", *flags, f"{registry.host}/{name}").stdout
        assert ours == docker_inside(daemon, "manifest", "inspect", "--insecure", *flags, f"{registry.host}/{name}")
    missing = daemon.cli("orlop", "manifest", "inspect", f"{registry.host}/shown/nothing", check=False)
    assert (missing.stderr, missing.returncode) == (f"no such manifest: {registry.host}/shown/nothing:latest\n", 1)


def docker_inside(daemon: Daemon, *words: str) -> str:
    """Run docker in the namespace of the registry, which it asks itself."""
    command, environment = daemon.command("docker")
    done = subprocess.run(
        daemon.netns.command(*command, *words), capture_output=True, text=True, env=environment, check=True, timeout=60
    )
    return done.stdout
