"""docker-py drives Orlop through its API."""

from __future__ import annotations

import socket
import threading
import time

import docker as sdk
import pytest
from docker.errors import APIError, ImageNotFound, NotFound

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("image")]

Client = sdk.DockerClient


def test_the_daemon_tells_what_it_is(docker_py: Client) -> None:
    assert docker_py.ping()
    assert docker_py.version()["ApiVersion"] == "1.51"
    assert docker_py.info()["Driver"] == "overlay2"


def test_run_returns_what_the_container_wrote(docker_py: Client) -> None:
    assert docker_py.containers.run("busybox", ["echo", "hi"], remove=True) == b"hi\n"


def test_a_failing_command_is_an_error_with_its_status(docker_py: Client) -> None:
    with pytest.raises(sdk.errors.ContainerError) as failed:
        docker_py.containers.run("busybox", ["sh", "-c", "echo no >&2; exit 4"], remove=True)
    assert failed.value.exit_status == 4


def test_what_is_not_there_is_not_found(docker_py: Client) -> None:
    with pytest.raises(NotFound, match="No such container: nope"):
        docker_py.containers.get("nope")
    with pytest.raises(ImageNotFound):
        docker_py.images.get("nope")


def test_a_wrong_value_in_a_body_names_the_field(docker_py: Client) -> None:
    url = docker_py.api._url("/containers/create")
    answer = docker_py.api.post(url, json={"Image": "busybox", "HostConfig": {"Memory": "much"}})
    assert answer.status_code == 400
    assert "Memory" in answer.json()["message"]


def test_a_containers_life_by_its_methods(docker_py: Client) -> None:
    container = docker_py.containers.run("busybox", ["sleep", "1000"], detach=True, labels={"k": "v"})
    try:
        assert docker_py.containers.list(filters={"label": "k=v"}) == [container]
        status, output = container.exec_run(["sh", "-c", "echo in; exit 3"])
        assert (status, output) == (3, b"in\n")
        container.pause()
        container.reload()
        assert container.status == "paused"
        container.unpause()
        assert container.top()["Processes"][0][-1] == "sleep 1000"
        assert container.stats(stream=False)["pids_stats"]["current"] == 1
        container.rename("renamed")
        container.update(mem_limit="64m", memswap_limit="64m")
        container.kill()
        assert container.wait()["StatusCode"] == 137
        container.reload()
        assert (container.name, container.status) == ("renamed", "exited")
    finally:
        container.remove(force=True)


def test_an_attached_socket_carries_input_and_framed_output(docker_py: Client) -> None:
    container = docker_py.containers.create("busybox", ["cat"], stdin_open=True)
    try:
        stream = docker_py.api.attach_socket(container.id, {"stdin": 1, "stdout": 1, "stream": 1})
        container.start()
        stream._sock.sendall(b"hello\n")
        stream._sock.shutdown(socket.SHUT_WR)
        assert stream.read(8 + 6) == b"\x01\0\0\0\0\0\0\x06hello\n"
        stream.close()
    finally:
        container.remove(force=True)


def test_logs_are_followed_until_the_container_ends(docker_py: Client) -> None:
    container = docker_py.containers.run("busybox", ["sh", "-c", "echo 1; sleep 0.2; echo 2"], detach=True)
    try:
        assert b"".join(container.logs(stream=True, follow=True)) == b"1\n2\n"
    finally:
        container.remove(force=True)


def test_events_are_streamed_as_they_happen(docker_py: Client) -> None:
    seen: list[str] = []
    events = docker_py.events(decode=True, filters={"type": "container"})

    def listen() -> None:
        for event in events:
            seen.append(event["Action"])
            if event["Action"] == "destroy":
                return

    thread = threading.Thread(target=listen)
    thread.start()
    time.sleep(0.2)
    docker_py.containers.run("busybox", ["true"], remove=True)
    thread.join(20)
    events.close()
    assert seen == ["create", "start", "die", "destroy"]


def test_volumes_are_made_used_and_removed(docker_py: Client) -> None:
    volume = docker_py.volumes.create("dockerpy", labels={"a": "b"})
    try:
        docker_py.containers.run("busybox", ["touch", "/d/f"], volumes={"dockerpy": {"bind": "/d"}}, remove=True)
        listing = docker_py.containers.run("busybox", ["ls", "/d"], volumes={"dockerpy": {"bind": "/d"}}, remove=True)
        assert listing == b"f\n"
        assert docker_py.volumes.list(filters={"label": "a=b"}) == [volume]
    finally:
        volume.remove(force=True)


def test_an_image_has_history_and_takes_another_name(docker_py: Client) -> None:
    image = docker_py.images.get("busybox")
    assert image.history()
    image.tag("other/name", "v1")
    assert "other/name:v1" in docker_py.images.get(image.id).tags
    docker_py.images.remove("other/name:v1")
    assert docker_py.images.get("busybox").tags == ["busybox:latest"]


def test_exec_of_a_missing_program_is_reported(docker_py: Client) -> None:
    container = docker_py.containers.run("busybox", ["sleep", "1000"], detach=True)
    try:
        try:
            status, output = container.exec_run(["nope"])
        except APIError as error:
            status, output = 127, str(error).encode()
        assert status == 127
        assert b"executable file not found" in output
    finally:
        container.remove(force=True)


def test_the_status_of_a_container_that_was_removed_just_now_is_still_known(docker_py: Client) -> None:
    container = docker_py.containers.run("busybox", ["sh", "-c", "exit 6"], detach=True)
    container.wait()
    container.remove()
    assert docker_py.api.wait(container.id)["StatusCode"] == 6
    with pytest.raises(NotFound):
        docker_py.api.wait(container.id[:12])
