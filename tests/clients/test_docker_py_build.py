"""docker-py builds on Orlop."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker as sdk
import pytest
from docker.errors import APIError, BuildError

from support.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("image")]

Client = sdk.DockerClient


def archive(mode: str = "w", **files: str) -> io.BytesIO:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size, member.uid, member.gid = len(text), 1234, 1234
            tar.addfile(member, io.BytesIO(text.encode()))
    data.seek(0)
    return data


def build(client: Client, dockerfile: str, **options: Any) -> tuple[Any, str]:
    """Build of a Dockerfile alone; return the image and the whole stream."""
    image, log = client.images.build(fileobj=io.BytesIO(dockerfile.encode()), rm=True, **options)
    return image, "".join(message.get("stream", "") for message in log)


def test_build_returns_the_image_and_its_log(docker_py: Client) -> None:
    image, log = build(docker_py, "FROM busybox\nRUN echo hello\n", tag="py:1")
    assert image.tags == ["py:1"]
    assert "hello\n" in log
    assert f"Successfully built {image.id.partition(':')[2][:12]}\n" in log
    assert log.endswith("Successfully tagged py:1\n")


def test_a_directory_is_the_context_and_its_owners_mean_nothing(docker_py: Client, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY . /all\n")
    (tmp_path / "a").write_text("A")
    first, _ = docker_py.images.build(path=str(tmp_path))
    listed = docker_py.containers.run(first.id, ["stat", "-c", "%u:%g", "/all/a"], remove=True)
    assert listed == b"0:0\n"
    (tmp_path / "a").touch()
    assert docker_py.images.build(path=str(tmp_path))[0].id == first.id
    (tmp_path / "a").write_text("B")
    assert docker_py.images.build(path=str(tmp_path))[0].id != first.id


def test_a_dockerfile_outside_of_the_context_does_not_break_the_cache(docker_py: Client, tmp_path: Path) -> None:
    context, elsewhere = tmp_path / "context", tmp_path / "Elsewhere"
    context.mkdir()
    elsewhere.write_text("FROM busybox\nCOPY . /all\nRUN ls -A /all\n")
    for ignore in (None, "b\n"):
        if ignore is not None:
            (context / ".dockerignore").write_text(ignore)
        first, _ = docker_py.images.build(path=str(context), dockerfile=str(elsewhere))
        again, log = docker_py.images.build(path=str(context), dockerfile=str(elsewhere))
        assert first.id == again.id
        assert "".join(message.get("stream", "") for message in log).count("Using cache") == 2


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_context_may_be_an_archive(docker_py: Client, mode: str) -> None:
    context = archive(mode, sub__Dockerfile="FROM busybox\nCOPY a /\n", a=mode)
    image, _ = docker_py.images.build(fileobj=context, custom_context=True, dockerfile="sub/Dockerfile")
    assert docker_py.containers.run(image.id, ["cat", "/a"], remove=True) == mode.encode()


def test_options_reach_the_build(docker_py: Client) -> None:
    dockerfile = """
        FROM busybox AS one
        ARG A
        RUN echo $A; grep there /etc/hosts; ls /sys/class/net; df -k /dev/shm | tail -1; cat /proc/self/cgroup
        FROM one AS two
        RUN exit 1
    """
    image, log = build(
        docker_py,
        dockerfile,
        buildargs={"A": "given"},
        labels={"l": "m"},
        target="one",
        network_mode="none",
        extra_hosts={"there": "1.2.3.4"},
        shmsize=8 << 20,
        container_limits={"memory": 64 << 20, "cpushares": 512},
        nocache=True,
    )
    assert image.labels == {"l": "m"}
    for found in ("given\n", "1.2.3.4\tthere\n", "\nlo\n", "8192"):
        assert found in log
    assert "eth0" not in log


def test_a_failing_command_is_a_build_error_with_the_log(docker_py: Client) -> None:
    with pytest.raises(BuildError) as failed:
        build(docker_py, "FROM busybox\nRUN echo before; exit 3\n")
    assert failed.value.msg == "The command '/bin/sh -c echo before; exit 3' returned a non-zero code: 3"
    log = list(failed.value.build_log)
    assert {"stream": "before\n"} in log
    assert log[-1]["errorDetail"]["code"] == 3


@pytest.mark.parametrize(
    ("dockerfile", "options", "status", "message"),
    [
        ("RUNN x\n", {}, 400, "dockerfile parse error on line 1: unknown instruction: RUNN"),
        ("FROM busybox\n", {"target": "no"}, 400, 'target stage "no" could not be found'),
        ("FROM busybox\n", {"platform": "no/such/thing/at"}, 400, "no/such/thing/at"),
        ("FROM busybox\n", {"squash": True}, 400, "squash is only supported with experimental mode"),
        ("\n", {}, 400, "file with no instructions"),
        ("", {}, 500, "the Dockerfile (Dockerfile) cannot be empty"),
    ],
)
def test_what_is_wrong_from_the_beginning_is_an_api_error(
    docker_py: Client, dockerfile: str, options: dict[str, Any], status: int, message: str
) -> None:
    with pytest.raises(APIError) as failed:
        build(docker_py, dockerfile, **options)
    assert failed.value.status_code == status
    assert message in failed.value.explanation


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dockerfile": "../Dockerfile"}, "Forbidden path outside the build context: ../Dockerfile ()"),
        ({"dockerfile": "missing"}, "Cannot locate specified Dockerfile: missing"),
    ],
)
def test_a_dockerfile_that_is_not_in_the_context(docker_py: Client, options: dict[str, str], message: str) -> None:
    context = archive(Dockerfile="FROM busybox\n")
    with pytest.raises(APIError, match=message.replace("(", r"\(").replace(")", r"\)")):
        docker_py.images.build(fileobj=context, custom_context=True, **options)


def test_dockerfile_in_small_letters_does(docker_py: Client) -> None:
    assert docker_py.images.build(fileobj=archive(dockerfile="FROM busybox\nRUN true\n"), custom_context=True)


def test_an_image_that_was_built_serves_as_a_cache(docker_py: Client) -> None:
    dockerfile = "FROM busybox\nARG X=cached\nRUN echo $X > /x\n"
    image, _ = build(docker_py, dockerfile, tag="served")
    docker_py.api.prune_builds()
    assert docker_py.api.df()["BuildCache"] is not None
    again, _ = build(docker_py, dockerfile, cache_from=["served", "unknown:1"])
    assert again.id == image.id


def test_concurrent_builds_of_the_same_thing_do_it_once(docker_py: Client) -> None:
    dockerfile = "FROM busybox\nRUN sleep 1; head -c 8 /dev/urandom > /random\n"
    ids: list[str] = []

    def work() -> None:
        ids.append(build(docker_py, dockerfile)[0].id)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 3
    assert len(set(ids)) == 1


def test_the_raw_stream_has_docker_s_line_ends(docker_py: Client, orlopd: Daemon) -> None:
    url = docker_py.api._url("/build")
    answer = docker_py.api.post(url, data=archive(Dockerfile="FROM busybox\nRUN true\n"), stream=True)
    lines = answer.raw.read().split(b"\r\n")
    assert lines.pop() == b""
    messages = [json.loads(line) for line in lines]
    assert messages[0] == {"stream": "Step 1/2 : FROM busybox"}
    aux = [message for message in messages if "aux" in message]
    assert len(aux) == 1
    assert messages[messages.index(aux[0]) + 1]["stream"].startswith("Successfully built")


@pytest.fixture
def served(orlopd: Daemon, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A directory, and the address at which the daemon finds what is in it."""
    command = (sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", tmp_path)
    server = subprocess.Popen(
        orlopd.netns.command(*command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert server.stdout is not None
        port = re.search(r"port (\d+)", server.stdout.readline())
        assert port is not None
        yield tmp_path, f"http://127.0.0.1:{port[1]}"
    finally:
        server.kill()
        server.communicate()


def test_a_remote_context_is_an_archive_or_a_dockerfile(docker_py: Client, served: tuple[Path, str]) -> None:
    directory, address = served
    (directory / "context.tgz").write_bytes(archive("w:gz", Dockerfile="FROM busybox\nCOPY a /\n", a="remote").read())
    image, _ = docker_py.images.build(path=f"{address}/context.tgz")
    assert docker_py.containers.run(image.id, ["cat", "/a"], remove=True) == b"remote"
    (directory / "Dockerfile").write_text("FROM busybox\nCOPY Dockerfile /own\n")
    image, _ = docker_py.images.build(path=f"{address}/Dockerfile")
    assert docker_py.containers.run(image.id, ["head", "-1", "/own"], remove=True) == b"FROM busybox\n"
    (directory / "binary").write_bytes(bytes(2000))
    for name, message in (("nothing", "error downloading remote context"), ("binary", "neither an archive nor")):
        with pytest.raises(APIError, match=message):
            docker_py.images.build(path=f"{address}/{name}")


def test_a_remote_context_may_be_a_repository(docker_py: Client, orlopd: Daemon, tmp_path: Path) -> None:
    if subprocess.run(["git", "daemon", "-h"], capture_output=True, check=False).returncode == 1:
        pytest.skip("needs git daemon")
    work = tmp_path / "repo"
    (work / "sub").mkdir(parents=True)
    (work / "sub/Dockerfile").write_text("FROM busybox\nCOPY . /all\nRUN ls -A /all\n")
    (work / "sub/.dockerignore").write_text("left\n")
    (work / "sub/left").write_text("")
    identity = ("-c", "user.name=me", "-c", "user.email=me@example.com")
    for words in (("init", "-q", "-b", "trunk"), ("add", "."), (*identity, "commit", "-q", "-m", "all")):
        subprocess.run(["git", *words], cwd=work, check=True)
    command = ("git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--base-path={tmp_path}")
    server = subprocess.Popen(orlopd.netns.command(*command), stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 20
        while orlopd.netns.run("git", "ls-remote", "git://127.0.0.1/repo", check=False).returncode:
            assert time.monotonic() < deadline, "git daemon does not answer"
            time.sleep(0.05)
        _, log = docker_py.images.build(path="git://127.0.0.1/repo#trunk:sub", rm=True)
        told = "".join(message.get("stream", "") for message in log)
        assert ".dockerignore\nDockerfile\nRemoving" in told
        with pytest.raises(APIError, match="nothing"):
            docker_py.images.build(path="git://127.0.0.1/repo#nothing")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
