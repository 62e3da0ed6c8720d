"""`docker save`, `commit` and `export` on orlopd, and what dockerd, podman, skopeo and umoci make of the results."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.daemon import Daemon
from support.dockerd import Dockerd, dockerd

if TYPE_CHECKING:
    from docker import DockerClient  # type: ignore[import-untyped]

pytestmark = [pytest.mark.root, pytest.mark.docker]

Cli = Callable[..., subprocess.CompletedProcess[str]]

CHANGE = """
mkdir -p /w/d && echo content > /w/d/file && chmod 4755 /w/d/file && chown 5:6 /w/d/file
ln /w/d/file /w/hard && ln -s d/file /w/link && mkfifo /w/fifo && mknod /w/null c 1 3
rm /bin/cat && ln /bin/busybox /bin/box2
rm -rf /var/www /home && mkdir /home && echo new > /home/new
chown -R 0:0 /bin
touch -d '2001-02-03 04:05:06' /w/d/file
"""
MOUNTED = "! -path ./proc ! -path ./sys ! -path ./dev ! -path ./etc/mtab ! -path ./looked"
LOOK = f"""
cd / && find . -xdev {MOUNTED} | sort | while read -r f; do stat -c '%n %f %u %g %h %t %T' $f; done
stat -c %Y /w/d/file
"""


@pytest.fixture
def names(orlopd: Daemon) -> Iterator[None]:
    """Remove the images that a test makes."""
    yield
    for summary in orlopd.json("GET", "/images/json?all=1"):
        for tag in summary["RepoTags"]:
            if tag.startswith("made:"):
                orlopd.request("DELETE", f"/images/{tag}?force=1")
        if not summary["RepoTags"]:
            orlopd.request("DELETE", f"/images/{summary['Id']}?force=1")


@pytest.fixture(scope="module")
def peer() -> Iterator[Dockerd]:
    with dockerd() as engine:
        yield engine


def image_id(docker: Cli, name: str) -> str:
    return docker("image", "inspect", "-f", "{{.Id}}", name).stdout.strip()


def commit(docker: Cli, container: str, name: str, *words: str) -> str:
    return docker("commit", *words, container, name).stdout.strip()


def changed(docker: Cli, image: str, script: str = CHANGE) -> str:
    """Run `script` in a container and return its id."""
    container = docker("create", image, "sh", "-ec", script).stdout.strip()
    docker("start", "-a", container)
    return str(container)


def listing(archive: bytes) -> list[tuple[str, bytes, str]]:
    """Return name, type and target of the members, in order of their names."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return sorted((info.name, info.type, info.linkname) for info in tar)


@pytest.mark.usefixtures("names")
def test_an_image_keeps_its_id_on_the_way_to_dockerd_and_back(
    docker: Cli, image: str, peer: Dockerd, tmp_path: Path
) -> None:
    container = changed(docker, image)
    made = commit(docker, container, "made:there")
    docker("save", "-o", tmp_path / "out.tar", "made:there", image)
    peer.run("load", "-i", tmp_path / "out.tar")
    assert peer.run("image", "inspect", "-f", "{{.Id}}", "made:there", image).stdout.split() == [
        made,
        image_id(docker, image),
    ]
    there = peer.run("run", "--rm", "--network=none", "made:there", "sh", "-c", LOOK).stdout
    assert there == docker("run", "--rm", "--network=none", "made:there", "sh", "-c", LOOK).stdout
    peer.run("save", "-o", tmp_path / "back.tar", "made:there")
    docker("rm", container)
    docker("rmi", "made:there")
    assert docker("load", "-i", tmp_path / "back.tar").stdout == "Loaded image: made:there\n"
    assert image_id(docker, "made:there") == made


@pytest.mark.usefixtures("names")
def test_skopeo_umoci_podman_and_gnu_tar_read_the_archive(docker: Cli, image: str, tmp_path: Path) -> None:
    docker("tag", image, "made:second")
    archive = tmp_path / "out.tar"
    docker("save", "-o", archive, image, "made:second")
    layers = json.loads(docker("image", "inspect", image).stdout)[0]["RootFS"]["Layers"]
    assert subprocess.run(["tar", "tf", archive], check=True, capture_output=True, text=True).stderr == ""
    if shutil.which("skopeo"):
        words = ["skopeo", "inspect", f"docker-archive:{archive}:docker.io/library/made:second"]
        found = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
        assert found["Layers"] == layers
    if shutil.which("umoci"):
        layout = tmp_path / "layout"
        layout.mkdir()
        subprocess.run(["tar", "xf", archive, "-C", layout], check=True)
        words = ["umoci", "unpack", "--image", f"{layout}:second", str(tmp_path / "bundle")]
        subprocess.run(words, check=True, capture_output=True)
        assert (tmp_path / "bundle/rootfs/bin/busybox").exists()
    if shutil.which("podman"):
        with tempfile.TemporaryDirectory(prefix="pod-") as root:  # podman takes 50 characters of a path
            podman = ["podman", f"--root={root}/root", f"--runroot={root}/run", "--storage-driver=vfs"]
            subprocess.run([*podman, "load", "-i", archive], check=True, capture_output=True)
            done = subprocess.run([*podman, "images", "-q", "--no-trunc"], check=True, capture_output=True, text=True)
        assert set(done.stdout.split()) == {image_id(docker, image)}


@pytest.mark.usefixtures("names")
def test_a_committed_container_shows_what_it_showed(docker: Cli, image: str, orlopd: Daemon) -> None:
    script = CHANGE + "touch /looked; sleep 1000"
    volumes = ("-v", "/vol/a/b", "--tmpfs", "/tmpfs")
    container = docker("run", "-d", "--init", *volumes, image, "sh", "-ec", script).stdout.strip()
    while docker("exec", container, "test", "-e", "/looked", check=False).returncode:
        time.sleep(0.05)
    wanted = docker("exec", container, "sh", "-c", LOOK).stdout
    commit(docker, container, "made:one")
    assert docker("inspect", "-f", "{{.State.Status}}", container).stdout == "running\n"
    commit(docker, container, "made:two")
    again = docker("run", "--rm", "--init", *volumes, "made:one", "sh", "-c", LOOK).stdout
    assert again == wanted
    one, two = (json.loads(docker("image", "inspect", name).stdout)[0]["RootFS"] for name in ("made:one", "made:two"))
    assert one == two  # the same changes are the same layer
    held = docker(
        "run", "--rm", "--network=none", "made:one", "ls", "-d", "/vol", "/tmpfs", "/sbin/docker-init", check=False
    )
    assert "No such file" in held.stderr  # stubs of mount points are not in the image
    docker("rm", "-f", "-v", container)


@pytest.mark.usefixtures("names")
def test_what_a_commit_says_of_the_image(docker: Cli, image: str, orlopd: Daemon) -> None:
    container = docker(
        *("create", "-e", "A=1", "-l", "x=y", "--entrypoint", "/bin/echo", "-w", "/tmp", image, "hello")
    ).stdout.strip()
    since = time.time()
    made = commit(
        docker,
        container,
        "made:said",
        *("-a", "Jack <j@example.com>", "-m", "why", "-c", "ENV A=${A}2 B='x y'", "-c", "EXPOSE 80", "-c", "USER 5"),
    )
    found = orlopd.json("GET", "/images/made:said/json")
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert sorted(found["Config"].pop("Env")) == ["A=12", "B=x y", path]
    assert found["Config"] == {
        "User": "5",
        "ExposedPorts": {"80/tcp": {}},
        "Entrypoint": ["/bin/echo"],
        "Cmd": ["hello"],
        "WorkingDir": "/tmp",
        "Labels": {"x": "y"},
    }
    assert (found["Author"], found["Comment"], found["Parent"]) == (
        "Jack <j@example.com>",
        "why",
        image_id(docker, image),
    )
    history = orlopd.json("GET", "/images/made:said/history")[0]
    assert (history["CreatedBy"], history["Comment"], history["Size"]) == ("hello", "why", 0)
    events = docker(
        "events", "--since", f"{since:.3f}", "--until", f"{time.time():.3f}", "--format", "{{json .}}"
    ).stdout
    told = [(item["Type"], item["Action"]) for item in map(json.loads, events.splitlines())]
    assert told == [("image", "tag"), ("container", "commit")]
    actor = json.loads(events.splitlines()[-1])["Actor"]
    assert actor["Attributes"] | {"comment": "why", "imageID": made, "imageRef": "made:said"} == actor["Attributes"]
    assert docker("run", "--rm", "made:said").stdout == "hello\n"
    docker("rm", container)


@pytest.mark.usefixtures("names")
def test_the_body_of_a_commit_replaces_the_configuration(docker: Cli, image: str, orlopd: Daemon) -> None:
    container = docker("create", "--entrypoint", "/bin/echo", "-e", "A=1", image, "hello").stdout.strip()
    asked = {"Cmd": ["sh"], "Env": ["B=2"], "Labels": {"l": "m"}}
    path = f"/commit?container={container}&repo=made&tag=body&changes=CMD%20true"
    orlopd.json("POST", path, asked)
    config = orlopd.json("GET", "/images/made:body/json")["Config"]
    assert config["Env"][0] == "B=2"
    assert "A=1" in config["Env"]
    assert (config["Cmd"], config["Entrypoint"]) == (["/bin/sh", "-c", "true"], ["/bin/echo"])
    docker("rm", container)


@pytest.mark.usefixtures("names")
def test_a_commit_that_fails_lets_the_container_go_on(docker: Cli, image: str) -> None:
    container = docker("run", "-d", image, "sh", "-c", "touch /.wh.x; echo ready; sleep 1000").stdout.strip()
    while "ready" not in docker("logs", container).stdout:
        time.sleep(0.05)
    done = docker("commit", container, "made:never", check=False)
    assert "names that begin with .wh. say there that a file is removed" in done.stderr
    assert docker("inspect", "-f", "{{.State.Status}}", container).stdout == "running\n"
    assert docker("image", "inspect", "made:never", check=False).returncode
    assert "No such container: nobody" in docker("commit", "nobody", check=False).stderr
    assert "is not a valid change command" in docker("commit", "-c", "RUN x", container, check=False).stderr
    docker("rm", "-f", container)


def test_a_running_container_is_paused_while_it_is_read_unless_that_is_not_wanted(
    docker: Cli, image: str, names: None
) -> None:
    container = docker("run", "-d", image, "sleep", "1000").stdout.strip()
    for words, told in (((), ["pause", "unpause", "commit"]), (("--pause=false",), ["commit"])):
        since = time.time()
        docker("commit", *words, container)
        events = docker(
            *("events", "--since", f"{since:.3f}", "--until", f"{time.time():.3f}"),
            *("--filter", "type=container", "--format", "{{.Action}}"),
        )
        assert events.stdout.split() == told
    docker("pause", container)
    commit(docker, container, "made:paused")
    assert docker("inspect", "-f", "{{.State.Status}}", container).stdout == "paused\n"
    docker("rm", "-f", container)


def test_an_export_lists_what_dockerds_lists(docker: Cli, image: str, peer: Dockerd, tmp_path: Path) -> None:
    docker("save", "-o", tmp_path / "image.tar", image)
    peer.run("load", "-i", tmp_path / "image.tar")
    words = ("create", "-v", "/vol/a", "--tmpfs", "/tmpfs", image, "sh", "-ec", CHANGE)
    found = []
    for run in (docker, peer.run):
        container = run(*words).stdout.strip()
        run("start", "-a", container)
        run("export", "-o", tmp_path / "export.tar", container)
        run("rm", "-v", container)
        found.append(listing((tmp_path / "export.tar").read_bytes()))
    assert found[0] == found[1]


@pytest.mark.usefixtures("names")
def test_an_export_of_a_running_container_is_a_tree_that_can_be_imported(
    docker: Cli, image: str, orlopd: Daemon, tmp_path: Path
) -> None:
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (mounted / "secret").write_text("of the host")
    script = "echo inside > /etc/new; rm /bin/cat; ln -s /mounted/secret /leak; echo ready; sleep 1000"
    container = docker("run", "-d", "-v", f"{mounted}:/mounted", image, "sh", "-c", script).stdout.strip()
    while "ready" not in docker("logs", container).stdout:
        time.sleep(0.05)
    docker("export", "-o", tmp_path / "export.tar", container)
    data = (tmp_path / "export.tar").read_bytes()
    assert b"of the host" not in data
    names = [name for name, _, _ in listing(data)]
    assert "mounted" in names
    assert "bin/cat" not in names
    assert not [name for name in names if name.startswith(("proc/", "sys/"))]
    docker("import", "-c", "CMD sh", tmp_path / "export.tar", "made:imported")
    assert docker("run", "--rm", "made:imported", "tail", "-n1", "/etc/new").stdout == "inside\n"
    docker("rm", "-f", container)
    assert "No such container: nobody" in docker("export", "nobody", check=False).stderr


@pytest.mark.usefixtures("names")
def test_docker_py_saves_commits_and_exports(docker_py: DockerClient, image: str) -> None:
    container = docker_py.containers.create(image, "sleep 1000")
    made = container.commit(repository="made", tag="py", message="m", changes="ENV X=1", conf={"Labels": {"a": "b"}})
    assert made.labels == {"a": "b"}
    data = b"".join(made.save(named=True))
    assert json.loads(_member(data, "manifest.json"))[0]["RepoTags"] == ["made:py"]
    tree = b"".join(container.export())
    assert ("bin/busybox", tarfile.REGTYPE, "") in listing(tree)
    container.remove()


def _member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


@pytest.fixture
def own(daemon: Callable[..., Daemon], image_archive: Path) -> Daemon:
    """A daemon with the base image, to be damaged and killed."""
    instance = daemon()
    instance.load(image_archive)
    return instance


def _big_container(own: Daemon) -> str:
    script = "dd if=/dev/urandom of=/big bs=1M count=120 2>/dev/null"
    container = own.cli("docker", "create", "busybox", "sh", "-c", script).stdout.strip()
    own.cli("docker", "start", "-a", container)
    return str(container)


def test_a_client_sees_that_an_archive_broke_off(own: Daemon, tmp_path: Path) -> None:
    container = _big_container(own)
    own.cli("docker", "commit", container, "made:big")
    blob = max((own.data_root / "content/sha256").iterdir(), key=lambda path: path.stat().st_size)
    with blob.open("r+b") as file:
        file.seek(blob.stat().st_size - 5000)
        file.write(b"damaged")
    done = own.cli("docker", "save", "-o", tmp_path / "out.tar", "made:big", check=False)
    assert done.returncode != 0
    assert "unexpected EOF" in done.stderr
    blob.unlink()
    done = own.cli("docker", "save", "-o", tmp_path / "out.tar", "made:big", check=False)
    assert "is missing" in done.stderr


def test_nothing_is_left_of_a_commit_when_the_daemon_is_killed(own: Daemon) -> None:
    container = _big_container(own)
    before = _store(own)
    for delay in (0.05, 0.15, 0.3):
        with contextlib.suppress(OSError):
            request = threading.Thread(target=_ignoring, args=(own, f"/commit?container={container}&repo=made&tag=k"))
            request.start()
            time.sleep(delay)
        own.kill()
        request.join()
        own.start()
        made = own.request("GET", "/images/made:k/json")[0] == 200
        if made:  # it was quick: then it is whole
            own.cli("docker", "run", "--rm", "made:k", "test", "-s", "/big")
            own.cli("docker", "rmi", "made:k")
        _settled(own, before)
    own.cli("docker", "commit", container, "made:after")
    own.cli("docker", "run", "--rm", "made:after", "test", "-s", "/big")


def test_a_save_that_is_given_up_or_killed_leaves_nothing(own: Daemon, tmp_path: Path) -> None:
    own.cli("docker", "commit", _big_container(own), "made:big")
    before = _store(own)
    command, environment = own.command("docker")
    client = subprocess.Popen([*command, "save", "made:big"], stdout=subprocess.PIPE, env=environment)
    assert client.stdout is not None
    client.stdout.read(1 << 20)
    client.kill()
    client.wait()
    client.stdout.close()
    own.cli("docker", "rmi", "made:big")  # nothing holds it
    own.cli("docker", "commit", own.json("GET", "/containers/json?all=1")[0]["Id"], "made:big")
    _settled(own, before)
    client = subprocess.Popen([*command, "save", "made:big"], stdout=subprocess.PIPE, env=environment)
    assert client.stdout is not None
    client.stdout.read(1 << 20)
    own.kill()
    client.stdout.read()
    client.stdout.close()
    assert client.wait() != 0
    own.start()
    _settled(own, before)
    own.cli("docker", "save", "-o", tmp_path / "out.tar", "made:big")


def test_the_daemon_answers_while_clients_do_not_read_their_archives(own: Daemon) -> None:
    own.cli("docker", "commit", _big_container(own), "made:big")
    command, environment = own.command("docker")
    clients = [
        subprocess.Popen([*command, "save", "made:big"], stdout=subprocess.PIPE, env=environment) for _ in range(12)
    ]
    try:
        for client in clients:
            assert client.stdout is not None
            client.stdout.read(65536)
        own.cli("docker", "run", "--rm", "busybox", "true")
        assert _resident(own.pid) < 400 << 20
    finally:
        for client in clients:
            client.kill()
            client.wait()
            assert client.stdout is not None
            client.stdout.close()


def _ignoring(own: Daemon, path: str) -> None:
    with contextlib.suppress(Exception):
        own.request("POST", path)


def _store(own: Daemon) -> set[str]:
    """Return what is in the store, but for small blobs: configurations differ by the time that they hold."""
    layers = {path.name for path in (own.data_root / "layers").iterdir()}
    scratch = {path.name for path in (own.data_root / "tmp").iterdir()} - {"partial"}
    blobs = {path.name for path in (own.data_root / "content/sha256").iterdir() if path.stat().st_size > 1 << 20}
    return layers | blobs | scratch


def _settled(own: Daemon, wanted: set[str]) -> None:
    deadline = time.monotonic() + 20
    while (found := _store(own)) != wanted:
        assert time.monotonic() < deadline, found ^ wanted
        time.sleep(0.1)


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
