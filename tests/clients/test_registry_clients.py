"""Other people's clients push to Orlop's registry and pull from it, with passwords and TLS: every byte comes back."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import archives
from support.archives import Image
from support.certificates import Authority
from support.daemon import Daemon
from support.dockerd import Dockerd, dockerd
from support.netns import NetworkNamespace, network_namespace
from support.orlop_registry import OrlopRegistry, orlop_registry

pytestmark = pytest.mark.root

USER, PASSWORD = "ann", "hush: it's a secret"
HOST = OrlopRegistry.host
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orlop/go"


def program(name: str) -> str:
    """Return the path of a client; skip the test where it is not installed."""
    found = shutil.which(name) or shutil.which(name, path=CACHE)
    if found is None:
        pytest.skip(f"needs {name} (scripts/setup.sh test installs it where its packages or the Go module proxy do)")
    return found


class Lab:
    """A registry with a password and TLS in a network namespace, and a home for its clients."""

    def __init__(self, directory: Path, netns: NetworkNamespace, registry: OrlopRegistry, authority: Authority) -> None:
        self.directory = directory
        self.netns = netns
        self.registry = registry
        self.ca = authority.ca
        self.certificates = directory / "certificates"
        self.certificates.mkdir()
        shutil.copy(authority.ca, self.certificates / "ca.crt")
        self.source = directory / "source"
        self.top = write_layout(self.source)

    def run(self, name: str, *words: str | Path, check: bool = True, input: str | None = None) -> str:
        """Run a client; return what it printed."""
        variables = {
            "HOME": str(self.directory),
            "DOCKER_CONFIG": str(self.directory / "docker"),
            "REGISTRY_AUTH_FILE": str(self.directory / "auth.json"),
            "REGCTL_CONFIG": str(self.directory / "regctl.json"),
            "SSL_CERT_FILE": str(self.ca),
            "STORAGE_DRIVER": "vfs",
        }
        done = subprocess.run(
            self.netns.command(program(name), *words),
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | variables,
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
        )
        assert not check or done.returncode == 0, f"{name} {words}:\n{done.stdout}{done.stderr}"
        return done.stdout if check else done.stderr

    def assert_in_registry(self, repository: str, tag: str) -> None:
        """Everything that the source has is in the registry, byte for byte."""
        head = self.registry.request("HEAD", f"/v2/{repository}/manifests/{tag}")
        assert head.headers["Docker-Content-Digest"] == self.top
        for path in (self.source / "blobs/sha256").iterdir():
            kind = "manifests" if b'"schemaVersion"' in path.read_bytes()[:200] else "blobs"
            found = self.registry.request("GET", f"/v2/{repository}/{kind}/sha256:{path.name}")
            assert found.body == path.read_bytes(), path

    def assert_same(self, layout: Path) -> None:
        """A layout has the same index and the same blobs as the source."""
        wanted, found = (
            {path.name: path.read_bytes() for path in (where / "blobs/sha256").iterdir()}
            for where in (self.source, layout)
        )
        assert found == wanted
        assert json.loads((layout / "index.json").read_text())["manifests"][0]["digest"] == self.top


def write_layout(directory: Path) -> str:
    """Write a layout whose only entry is an index of images for two platforms; return the index's digest."""
    children, blobs = [], []
    for architecture in ("amd64", "arm64"):
        layers = [
            archives.tree({"etc/hello": random.Random(architecture).randbytes(50_000)}),
            archives.tree({"etc/both": b"same"}),
        ]
        image = Image(layers, architecture=architecture)
        stored = [gzip.compress(data, mtime=0) for data in layers]
        manifest = archives.manifest(image, [(data, "+gzip") for data in stored])
        platform = {"os": "linux", "architecture": architecture}
        children.append(archives.descriptor(manifest, archives.MANIFEST, platform=platform))
        blobs += [image.document, manifest, *stored]
    index = archives.index(children)
    name = {"org.opencontainers.image.ref.name": "v1"}
    top = archives.descriptor(index, archives.INDEX, annotations=name)
    with tarfile.open(fileobj=io.BytesIO(archives.oci_layout([top], index, *blobs))) as tar:
        tar.extractall(directory)
    return archives.digest(index)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if shutil.which("htpasswd") is None:
        pytest.skip("needs htpasswd (apache2-utils)")
    directory = tmp_path_factory.mktemp("lab")
    users = directory / "users"
    subprocess.run(["htpasswd", "-Bbc", users, USER, PASSWORD], check=True, capture_output=True)
    authority = Authority(directory)
    options = (f"--htpasswd={users}", f"--tls-cert={authority.server}", f"--tls-key={authority.server}")
    with network_namespace() as netns, orlop_registry(*options, netns=netns) as registry:
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        registry.headers = {"Authorization": f"Basic {basic}"}
        yield Lab(directory, netns, registry, authority)


def test_skopeo_copies_lists_inspects_and_deletes(lab: Lab) -> None:
    secrets = ("--cert-dir", lab.certificates, "--creds", f"{USER}:{PASSWORD}")
    to = ("--dest-cert-dir", lab.certificates, "--dest-creds", f"{USER}:{PASSWORD}")
    back = ("--src-cert-dir", lab.certificates, "--src-creds", f"{USER}:{PASSWORD}")
    copy = ("copy", "--insecure-policy", "--all")
    name = f"docker://{HOST}/skopeo/both:v1"
    refused = lab.run("skopeo", *copy, *to[:2], f"oci:{lab.source}:v1", name, check=False)
    assert "unauthorized: authentication required" in refused or "authentication required" in refused
    lab.run("skopeo", *copy, *to, f"oci:{lab.source}:v1", name)
    lab.assert_in_registry("skopeo/both", "v1")
    lab.run("skopeo", *copy, *to, *back, name, f"docker://{HOST}/skopeo/again:v1")
    lab.assert_in_registry("skopeo/again", "v1")
    lab.run("skopeo", *copy, *back, name, f"oci:{lab.directory / 'skopeo'}:v1")
    lab.assert_same(lab.directory / "skopeo")
    assert json.loads(lab.run("skopeo", "list-tags", *secrets, name.rpartition(":")[0]))["Tags"] == ["v1"]
    lab.run("skopeo", "delete", *secrets, name)
    assert lab.registry.request("GET", "/v2/skopeo/both/manifests/v1").codes == ["MANIFEST_UNKNOWN"]


def test_crane_pushes_pulls_lists_and_deletes(lab: Lab) -> None:
    lab.run("crane", "auth", "login", HOST, "-u", USER, "-p", PASSWORD)
    name = f"{HOST}/crane:v1"
    lab.run("crane", "push", lab.source, name)
    lab.assert_in_registry("crane", "v1")
    lab.run("crane", "pull", "--format=oci", name, lab.directory / "crane")
    lab.assert_same(lab.directory / "crane")
    lab.run("crane", "copy", name, f"{HOST}/crane/copy:v2")
    lab.assert_in_registry("crane/copy", "v2")
    assert lab.run("crane", "digest", name).strip() == lab.top
    assert set(lab.run("crane", "catalog", HOST).split()) >= {"crane", "crane/copy"}
    lab.run("crane", "tag", name, "v3")
    assert lab.run("crane", "ls", f"{HOST}/crane").split() == ["v1", "v3"]
    lab.run("crane", "validate", "--remote", name)
    lab.run("crane", "delete", f"{HOST}/crane@{lab.top}")
    assert lab.run("crane", "ls", f"{HOST}/crane").split() == []


def test_oras_copies_attaches_and_discovers(lab: Lab) -> None:
    to = ("--to-plain-http=false", "--to-ca-file", lab.ca, "--to-username", USER, "--to-password", PASSWORD)
    back = ("--from-plain-http=false", "--from-ca-file", lab.ca, "--from-username", USER, "--from-password", PASSWORD)
    secrets = ("--plain-http=false", "--ca-file", lab.ca, "--username", USER, "--password", PASSWORD)
    name = f"{HOST}/oras:v1"
    lab.run("oras", "cp", "--from-oci-layout", f"{lab.source}:v1", *to, name)
    lab.assert_in_registry("oras", "v1")
    lab.run("oras", "cp", *back, name, "--to-oci-layout", f"{lab.directory / 'oras'}:v1")
    lab.assert_same(lab.directory / "oras")
    (lab.directory / "note.txt").write_text("a note")
    attach = ("attach", "--disable-path-validation", *secrets, "--artifact-type", "application/note", name)
    lab.run("oras", *attach, f"{lab.directory / 'note.txt'}:text/plain")
    found = json.loads(lab.run("oras", "discover", *secrets, "--format=json", name))
    assert [entry["artifactType"] for entry in found["referrers"]] == ["application/note"]
    assert lab.registry.request("GET", "/v2/oras/tags/list").json["tags"] == ["v1"], "no tag for lack of an API"


def test_regctl_copies_in_chunks_and_lists(lab: Lab) -> None:
    lab.run("regctl", "registry", "set", HOST, "--cacert", lab.ca.read_text(), "--blob-chunk=1000", "--blob-max=1000")
    lab.run("regctl", "registry", "login", HOST, "-u", USER, "--pass-stdin", input=PASSWORD)
    name = f"{HOST}/regctl:v1"
    lab.run("regctl", "image", "copy", "--force-recursive", f"ocidir://{lab.source}:v1", name)
    lab.assert_in_registry("regctl", "v1")
    assert any("PATCH /v2/regctl/" in line for line in lab.registry.log.read_text().splitlines())
    lab.run("regctl", "image", "copy", name, f"ocidir://{lab.directory / 'regctl'}:v1")
    lab.assert_same(lab.directory / "regctl")
    assert lab.run("regctl", "tag", "ls", f"{HOST}/regctl").split() == ["v1"]
    lab.run("regctl", "tag", "delete", name)
    assert lab.run("regctl", "tag", "ls", f"{HOST}/regctl").split() == []


@pytest.mark.parametrize("name", ["podman", "buildah"])
def test_podman_and_buildah_push_and_pull(lab: Lab, name: str) -> None:
    home = lab.directory / name
    places = ("--root", home / "root", "--runroot", home / "run", "--storage-driver=vfs")
    (lab.directory / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    policy = ("--signature-policy", lab.directory / "policy.json")
    lab.run(name, *places, "login", "--cert-dir", lab.certificates, "-u", USER, "-p", PASSWORD, HOST)
    image = f"{HOST}/{name}/image:v1"
    source = lab.run(name, *places, "pull", *policy, "-q", f"oci:{lab.source}:v1").split()[-1]
    try:
        lab.run(name, *places, "push", *policy, "--cert-dir", lab.certificates, source, f"docker://{image}")
        lab.run(name, *places, "rmi", "-f", source)
        pulled = lab.run(name, *places, "pull", *policy, "--cert-dir", lab.certificates, "-q", image).split()[-1]
        assert pulled == source, "the image's id is the digest of its configuration"
        manifest = lab.registry.request("GET", f"/v2/{name}/image/manifests/v1").json
        assert manifest["config"]["digest"] == f"sha256:{source.removeprefix('sha256:')}"
    finally:
        lab.run(name, *places, "rmi", "-fa")


@pytest.fixture(scope="module")
def docker(lab: Lab) -> Iterator[Dockerd]:
    with dockerd(lab.netns) as engine:
        yield engine


@pytest.mark.docker
def test_docker_pushes_and_pulls_the_same_image(lab: Lab, docker: Dockerd, image_archive: Path) -> None:
    config = ("--config", lab.directory / "docker-of-dockerd")
    name = f"{HOST}/library/busybox:docker"
    docker.run("load", "-q", "-i", image_archive)
    docker.run("tag", "busybox:latest", name)
    refused = docker.run(*config, "push", name, check=False)
    assert "no basic auth credentials" in refused.stderr
    docker.run(*config, "login", "-u", USER, "--password-stdin", HOST, input=PASSWORD)
    pushed = docker.run(*config, "push", name).stdout
    digest = re.findall(r"docker: digest: (sha256:[0-9a-f]{64}) size: ", pushed)[0]
    manifest = lab.registry.request("GET", f"/v2/library/busybox/manifests/{digest}")
    assert f"sha256:{hashlib.sha256(manifest.body).hexdigest()}" == digest
    before = docker.run("image", "inspect", "-f", "{{.Id}}", name).stdout
    docker.run("rmi", "busybox:latest", name)
    pulled = docker.run(*config, "pull", name).stdout
    assert f"Digest: {digest}" in pulled
    assert docker.run("image", "inspect", "-f", "{{.Id}}", name).stdout == before
    again = docker.run(*config, "push", name).stdout
    assert "Layer already exists" in again
    docker.run("tag", name, f"{HOST}/other:docker")
    assert "Mounted from library/busybox" in docker.run(*config, "push", f"{HOST}/other:docker").stdout
    missing = docker.run(*config, "pull", f"{HOST}/library/busybox:none", check=False).stderr
    assert f"manifest for {HOST}/library/busybox:none not found: manifest unknown: manifest unknown" in missing


@pytest.mark.docker
def test_docker_pulls_its_platform_of_an_index(lab: Lab, docker: Dockerd) -> None:
    config = ("--config", lab.directory / "docker-of-dockerd")
    docker.run(*config, "login", "-u", USER, "--password-stdin", HOST, input=PASSWORD)
    to = ("--dest-cert-dir", lab.certificates, "--dest-creds", f"{USER}:{PASSWORD}")
    lab.run("skopeo", "copy", "--insecure-policy", "--all", *to, f"oci:{lab.source}:v1", f"docker://{HOST}/both:v1")
    assert f"Digest: {lab.top}" in docker.run(*config, "pull", f"{HOST}/both:v1").stdout
    shown = docker.run("image", "inspect", f"{HOST}/both:v1", "-f", "{{.Architecture}} {{.RepoDigests}}").stdout
    assert shown.strip() == f"amd64 [{HOST}/both@{lab.top}]"


@pytest.mark.docker
def test_orlop_runs_what_it_pulls(lab: Lab, daemon: Callable[..., Daemon], image_archive: Path) -> None:
    name = f"{HOST}/orlop/busybox:1"
    to = ("--dest-cert-dir", lab.certificates, "--dest-creds", f"{USER}:{PASSWORD}")
    lab.run("skopeo", "copy", "--insecure-policy", *to, f"docker-archive:{image_archive}", f"docker://{name}")
    head = lab.registry.request("HEAD", "/v2/orlop/busybox/manifests/1")
    engine = daemon(netns=lab.netns)
    refused = engine.cli("orlop", "run", "--rm", name, "true", check=False)
    assert "unauthorized" in refused.stderr or "no basic auth credentials" in refused.stderr
    engine.cli("orlop", "login", "-u", USER, "--password-stdin", HOST, input=PASSWORD)
    assert engine.cli("orlop", "run", "--rm", "--network=none", name, "echo", "hello").stdout == "hello\n"
    assert f"Digest: {head.headers['Docker-Content-Digest']}" in engine.cli("orlop", "pull", name).stdout


def test_the_specifications_own_conformance_suite_is_content(lab: Lab) -> None:
    results = lab.directory / "results"
    options = {
        "OCI_REGISTRY": HOST,
        "OCI_TLS": "insecure",
        "OCI_USERNAME": USER,
        "OCI_PASSWORD": PASSWORD,
        "OCI_RESULTS_DIR": results,
        "OCI_API_BLOBS_UPLOAD_CANCEL": "true",
        "OCI_API_BLOBS_DIGEST_HEADER": "true",
        "OCI_API_MANIFESTS_DIGEST_HEADER": "true",
        "OCI_API_MANIFESTS_TAG_PARAM": "true",
    }
    said = lab.run("env", *(f"{name}={value}" for name, value in options.items()), program("conformance"))
    found = {name.rstrip("."): value for name, value in re.findall(r"^  (\w[\w -]*?)\.*: +(\S+)$", said, re.M)}
    assert (found["FAIL"], found["Error"]) == ("0", "0"), said
    assert int(found["Pass"]) > 500
    skipped = {name for name, value in found.items() if value == "Skip"}
    assert skipped <= {"Blob anonymous mount"}, "the specification lets a registry do without"
