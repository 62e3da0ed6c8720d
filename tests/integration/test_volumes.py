"""Volumes from end to end: made, filled, shared, refused, removed, by a real daemon."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from urllib.parse import quote

import pytest

from support.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("image")]

Cli = Callable[..., CompletedProcess[str]]


def in_container(orlopd: Daemon, script: str, **host_config: object) -> str:
    """Run a shell script in a container; return what it wrote, with its exit status in the last line."""
    body = {"Image": "busybox", "Cmd": ["sh", "-c", script], "Tty": True, "HostConfig": host_config}
    container = orlopd.json("POST", "/containers/create", body)["Id"]
    orlopd.json("POST", f"/containers/{container}/start")
    status = orlopd.json("POST", f"/containers/{container}/wait")["StatusCode"]
    _, output = orlopd.request("GET", f"/containers/{container}/logs?stdout=1&stderr=1")
    orlopd.request("DELETE", f"/containers/{container}?v=1")
    return f"{output.decode()}{status}".replace("\r\n", "\n")


def refusal(orlopd: Daemon, **host_config: object) -> str:
    status, data = orlopd.request("POST", "/containers/create", {"Image": "busybox", "HostConfig": host_config})
    assert status == 400, data
    return str(json.loads(data)["message"])


def test_a_new_volume_starts_with_what_the_image_has_there(orlopd: Daemon) -> None:
    assert "root:x:0:0" in in_container(orlopd, "cat /etc/passwd", Binds=["fresh:/etc"])
    assert in_container(orlopd, "ls /data/group && stat -c %a /data", Binds=["fresh:/data"]) == "/data/group\n755\n0"
    assert in_container(orlopd, "ls /etc | wc -l", Binds=["empty:/etc:nocopy"]).startswith("3\n")  # hosts and the like


def test_what_one_container_writes_another_reads(orlopd: Daemon) -> None:
    assert in_container(orlopd, "echo kept >/data/file", Binds=["shared:/data"]) == "0"
    assert in_container(orlopd, "cat /data/file", Binds=["shared:/data:ro"]) == "kept\n0"
    assert "Read-only file system" in in_container(orlopd, "echo x >/data/file", Binds=["shared:/data:ro"])


def test_anonymous_volumes_go_with_their_container_and_named_ones_stay(orlopd: Daemon) -> None:
    body = {"Image": "busybox", "Volumes": {"/anonymous": {}}, "HostConfig": {"Binds": ["named:/named"]}}
    container = orlopd.json("POST", "/containers/create", body)["Id"]
    (anonymous,) = [
        mount["Name"]
        for mount in orlopd.json("GET", f"/containers/{container}/json")["Mounts"]
        if mount["Destination"] == "/anonymous"
    ]
    assert orlopd.json("GET", f"/volumes/{anonymous}")["Labels"] == {"com.docker.volume.anonymous": ""}
    orlopd.request("DELETE", f"/containers/{container}?v=1")
    names = [volume["Name"] for volume in orlopd.json("GET", "/volumes")["Volumes"]]
    assert "named" in names
    assert anonymous not in names


def test_a_volume_in_use_is_not_removed(orlopd: Daemon) -> None:
    container = orlopd.json("POST", "/containers/create", {"Image": "busybox", "HostConfig": {"Binds": ["used:/u"]}})[
        "Id"
    ]
    status, data = orlopd.request("DELETE", "/volumes/used")
    assert (status, json.loads(data)["message"]) == (409, f"remove used: volume is in use - [{container}]")
    orlopd.json("POST", "/volumes/prune?filters=" + quote('{"all":["1"]}'))
    assert "used" in [volume["Name"] for volume in orlopd.json("GET", "/volumes")["Volumes"]]
    orlopd.request("DELETE", f"/containers/{container}")
    assert orlopd.request("DELETE", "/volumes/used")[0] == 204
    assert orlopd.request("DELETE", "/volumes/used")[0] == 404
    assert orlopd.request("DELETE", "/volumes/used?force=1")[0] == 204


def test_a_container_takes_the_volumes_of_another(orlopd: Daemon) -> None:
    body = {"Image": "busybox", "HostConfig": {"Binds": ["source:/shared"]}}
    source = orlopd.json("POST", "/containers/create?name=source", body)["Id"]
    assert in_container(orlopd, "echo x >/shared/x", VolumesFrom=["source"]) == "0"
    assert "Read-only" in in_container(orlopd, "echo x >/shared/x", VolumesFrom=["source:ro"])
    orlopd.request("DELETE", f"/containers/{source}")


def test_a_directory_of_the_host_is_bound_and_made_if_missing(orlopd: Daemon, tmp_path: Path) -> None:
    assert in_container(orlopd, "echo hi >/data/file", Binds=[f"{tmp_path}/made/here:/data"]) == "0"
    assert (tmp_path / "made/here/file").read_text() == "hi\n"
    mount = {"Type": "bind", "Source": f"{tmp_path}/missing", "Target": "/data"}
    assert refusal(orlopd, Mounts=[mount]) == (
        f'invalid mount config for type "bind": bind source path does not exist: {tmp_path}/missing'
    )
    assert not (tmp_path / "missing").exists()


def test_a_volume_s_directory_can_be_mounted_alone(orlopd: Daemon) -> None:
    assert in_container(orlopd, "mkdir -p /v/a/b; echo deep >/v/a/b/file", Binds=["deep:/v"]) == "0"
    options = {"Type": "volume", "Source": "deep", "Target": "/b", "VolumeOptions": {"Subpath": "a/b"}}
    assert in_container(orlopd, "cat /b/file", Mounts=[options]) == "deep\n0"


def test_a_volume_cannot_hide_a_file(orlopd: Daemon) -> None:
    message = refusal(orlopd, Binds=["over:/etc/passwd"])
    assert message == "cannot mount volume over existing file, file exists /etc/passwd"
    assert orlopd.request("GET", "/volumes/over")[0] == 404


@pytest.mark.docker
def test_volumes_by_the_docker_command(docker: Cli) -> None:
    assert docker("volume", "create", "--label", "a=b", "mine").stdout == "mine\n"
    assert docker("volume", "ls", "-q", "--filter", "label=a=b").stdout == "mine\n"
    assert (
        docker("volume", "inspect", "--format", "{{.Driver}} {{.Scope}} {{.Labels.a}}", "mine").stdout
        == "local local b\n"
    )
    assert docker("volume", "ls", "-q", "--filter", "dangling=true", "--filter", "name=min").stdout == "mine\n"
    failed = docker("volume", "create", "x/y", check=False)
    assert 'includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]"' in failed.stderr
    assert docker("volume", "rm", "mine").stdout == "mine\n"
    gone = docker("volume", "inspect", "mine", check=False)
    assert "no such volume" in gone.stderr


def test_events_are_those_of_docker_and_outlive_the_daemon(daemon: Callable[..., Daemon], image_archive: Path) -> None:
    own = daemon()
    own.load(image_archive)
    in_container(own, "true", Binds=["vol:/v"])
    own.restart()
    _, data = own.request("GET", f"/events?since=0&until={time.time():.9f}")
    told = [(event["Type"], event["Action"]) for event in map(json.loads, data.splitlines())]
    told = [event for event in told if event[0] != "image"]
    assert told == [
        ("volume", "create"),
        ("container", "create"),
        ("network", "connect"),
        ("volume", "mount"),
        ("container", "start"),
        ("container", "die"),
        ("network", "disconnect"),
        ("volume", "unmount"),
        ("container", "destroy"),
    ]
