# ruff: noqa: E501 - command lines are easier to read whole
"""run, start, attach and exec: both clients ask for the same containers, move the same bytes and end alike."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from support.fake_container import ID, FakeContainer, Process, frame, read_all
from support.fake_engine import Answer, FakeEngine
from support.side_by_side import Run

pytestmark = pytest.mark.docker


def without_empty(value: object) -> object:
    """Return JSON without what is empty: Go leaves some of it out."""
    if isinstance(value, dict):
        found = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in found.items() if item not in (None, "", 0, False, [], {}, [0, 0])}
    return [without_empty(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "line",
    [
        "busybox",
        "busybox sh -c true",
        "--name web --rm --init --read-only --privileged busybox",
        "--init=false -P busybox",
        "-it busybox",
        "-i -a stdin -a stdout busybox",
        "-a stderr busybox",
        "-e A=1 -e HOME -e NOT_SET --env B= busybox",
        "-l a=b -l c --label d=e=f busybox",
        "-p 80 -p 8080:80 -p 127.0.0.1:81:81/udp -p [::1]:82:82 -p 1000-1002:2000-2002 -p 90-99:9 busybox",
        "-p published=8080,target=80,protocol=udp --expose 7-8 --expose 9/udp busybox",
        "-p 0.0.0.0::53/udp -p ::1:8:8 busybox",
        "-v /srv:/data -v ./here:/here:ro -v name:/v:nocopy -v /anonymous -v x:/y busybox",
        "--mount type=bind,src=/srv,dst=/data,readonly,bind-propagation=rslave busybox",
        "--mount source=vol,target=/v,volume-nocopy=true,volume-label=a=b,volume-driver=d,volume-opt=o=p busybox",
        "--mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770 --tmpfs /u:size=1m --tmpfs /w busybox",
        "--mount type=bind,src=/a,dst=/b,ro,bind-recursive=writable --mount type=image,src=i,dst=/i,image-subpath=p busybox",
        "--network host busybox",
        "--network none busybox",
        "--network container:other busybox",
        "--network mine --network-alias a --network-alias b --ip 10.0.0.2 --ip6 fd00::2 --link-local-ip 169.254.1.1 busybox",
        "--network name=mine,alias=x,ip=10.0.0.3,driver-opt=a=b,gw-priority=5 --network name=other busybox",
        "--net mine --link db:database --mac-address 02:42:ac:11:00:02 busybox",
        "--link db --mac-address 02-42-ac-11-00-02 busybox",
        "--add-host a:1.2.3.4 --add-host b=[::1] --add-host c:host-gateway --dns 8.8.8.8 --dns-opt ndots:2 --dns-search . busybox",
        "-m 64m --memory-swap -1 --memory-reservation 32M --memory-swappiness 0 --shm-size 1g --kernel-memory 1g busybox",
        "--cpus 1.5 -c 512 --cpu-period 100000 --cpu-quota 5000 --cpuset-cpus 0-1 --cpuset-mems 0 --cpu-rt-runtime 5 busybox",
        "--pids-limit 100 --oom-kill-disable --oom-score-adj 500 --ulimit nofile=100:200 --ulimit core=-1 --ulimit cpu=5 busybox",
        "--blkio-weight 300 --blkio-weight-device /dev/sda:500 --device-read-bps /dev/sda:1mb --device-write-iops /dev/sda:5 busybox",
        "--device /dev/fuse --device /dev/a:/dev/b --device /dev/c:r --device /dev/d:/dev/e:rw busybox",
        "--device vendor.com/gpu=0 --gpus all busybox",
        "--gpus 2 busybox",
        "--cap-add NET_ADMIN --cap-drop ALL --security-opt no-new-privileges --security-opt apparmor=x --group-add 5 busybox",
        "--security-opt systempaths=unconfined --security-opt label:disable --security-opt seccomp=unconfined busybox",
        "--pid host --ipc host --uts host --userns host --cgroupns private --cgroup-parent /x --runtime r busybox",
        "--pid container:a --ipc container:b --isolation default --volume-driver d --volumes-from a:ro busybox",
        "--restart on-failure:3 --stop-signal TERM --stop-timeout 0 -u 1:2 -w /w -h host --domainname d busybox",
        "--health-cmd true --health-interval 1m30s --health-retries 2 --health-start-period 500ms --health-timeout 3s busybox",
        "--no-healthcheck --entrypoint sh busybox -c x",
        "--entrypoint= --log-driver json-file --log-opt max-size=1m --storage-opt size=1g --sysctl net.ipv4.ip_forward=1 busybox",
        "--annotation a=b --platform linux/arm64/v8 busybox",
        "--pull never host:5000/a/b@sha256:" + "a" * 64,
        "--use-api-socket busybox",
    ],
)
def test_the_same_container_is_asked_for(engine: FakeEngine, docker: Run, orlop: Run, line: str) -> None:
    engine.on("POST", "/containers/create", Answer({"Id": ID, "Warnings": ["careful"]}, 201))
    theirs, ours = docker("create", *line.split()), orlop("create", *line.split())
    assert ours == theirs
    assert ours.status == 0
    first, second = engine.asked("POST", "/containers/create")
    assert first.query == second.query
    assert normal(second.json) == normal(first.json)


def normal(body: Any) -> object:
    # docker goes through maps of these, in any order.
    body["Env"] = sorted(body.get("Env") or ())
    body["HostConfig"]["Binds"] = sorted(body["HostConfig"].get("Binds") or ())
    return without_empty(body)


def test_files_of_variables_and_labels(engine: FakeEngine, docker: Run, orlop: Run, tmp_path: Path) -> None:
    engine.on("POST", "/containers/create", Answer({"Id": ID}, 201))
    (tmp_path / "env").write_text("# comment\n\nA=1\n  B= spaces \nHOME\nNOT_SET\nC='quoted'\n")
    (tmp_path / "labels").write_text("x=y\nalone\n")
    (tmp_path / "bad").write_text("a b=c\n")
    (tmp_path / "seccomp.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW",\n "syscalls": []}')
    for line in (
        f"--env-file {tmp_path}/env -e A=2 --label-file {tmp_path}/labels --security-opt seccomp={tmp_path}/seccomp.json busybox",
        f"--env-file {tmp_path}/bad busybox",
        f"--cidfile {tmp_path}/env busybox",
    ):
        assert orlop("create", *line.split()) == docker("create", *line.split())
    first, second = engine.asked("POST", "/containers/create")
    assert without_empty(first.json) == without_empty(second.json)
    for program in (docker, orlop):
        cid = tmp_path / "cid"
        assert program("create", "--cidfile", str(cid), "busybox").status == 0
        assert cid.read_text() == ID
        cid.unlink()
        engine.refuse("POST", "/containers/create", 400, "no")
        assert program("create", "--cidfile", str(cid), "busybox").status == 1
        assert not cid.exists()
        engine.on("POST", "/containers/create", Answer({"Id": ID}, 201))


def test_proxies_of_the_configuration_reach_the_container(
    engine: FakeEngine, docker: Run, orlop: Run, tmp_path: Path
) -> None:
    engine.on("POST", "/containers/create", Answer({"Id": ID}, 201))
    (tmp_path / ".docker").mkdir()
    proxies = {"default": {"httpProxy": "http://p:1", "noProxy": "a,b"}, "tcp://other": {"httpProxy": "http://no"}}
    (tmp_path / ".docker/config.json").write_text(json.dumps({"proxies": proxies}))
    for program in (docker, orlop):
        assert program("create", "-e", "http_proxy=mine", "busybox").status == 0
    first, second = engine.asked("POST", "/containers/create")
    assert sorted(second.json["Env"]) == sorted(first.json["Env"])


def speak(connection: socket.socket) -> int:
    connection.sendall(frame(1, b"out\n") + frame(2, b"err\n"))
    return 3


def echo(connection: socket.socket) -> int:
    data = read_all(connection)
    connection.sendall(frame(1, data) + frame(2, b"done\n"))
    return 0


@pytest.mark.parametrize(
    ("line", "process", "stdin"),
    [
        ("run busybox", speak, b""),
        ("run --rm busybox", speak, b""),
        ("run -i busybox cat", echo, b"hello\n" * 10000),
        ("run -i busybox cat", echo, b""),
        ("run -a stdin -i busybox cat", echo, b"x"),
        ("run -d busybox", speak, b""),
        ("start -a web", speak, b""),
        ("start -ai web", echo, b"hello"),
        ("exec web ls", speak, b""),
        ("exec -i web cat", echo, b"hello" * 50000),
        ("exec -t web ls", lambda connection: connection.sendall(b"raw\r\n") or 5, b""),
    ],
)
def test_streams_and_exit_status(
    engine: FakeEngine, docker: Run, orlop: Run, line: str, process: Process, stdin: bytes
) -> None:
    outcomes = []
    for program in (docker, orlop):
        container = FakeContainer(engine, process, tty="-t" in line.split(), running="exec" in line)
        outcomes.append(program(*line.split(), stdin=stdin))
        assert container.signals == []
    assert outcomes[1] == outcomes[0]


def test_attach_to_a_running_container(engine: FakeEngine, docker: Run, orlop: Run) -> None:
    def speak_at_the_end_of_input(connection: socket.socket) -> int:
        read_all(connection)
        return speak(connection)

    outcomes = []
    for program in (docker, orlop):
        FakeContainer(engine, speak_at_the_end_of_input, running=True)
        outcomes.append(program("attach", "web"))
    assert outcomes[1] == outcomes[0]
    assert outcomes[1].status == 3
    FakeContainer(engine, speak)
    assert orlop("attach", "web") == docker("attach", "web")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('failed to create task: exec: "nope": executable file not found in $PATH: unknown', 127),
        ('failed to create task: exec: "/etc": permission denied: unknown', 126),
        ("failed to create task: is a directory: unknown", 126),
        ("driver failed programming external connectivity", 125),
    ],
)
@pytest.mark.parametrize("line", ["run busybox x", "run -d busybox x", "run -i busybox x"])
def test_a_container_that_does_not_start(engine: FakeEngine, both: Run, line: str, message: str, code: int) -> None:
    engine.on("POST", "/containers/create", Answer({"Id": ID}, 201))
    engine.on("POST", f"/containers/{ID}/attach", Answer(raw=lambda connection: read_all(connection) and None))
    engine.on("POST", f"/containers/{ID}/wait", lambda _: Answer({"StatusCode": 0}))
    engine.refuse("POST", f"/containers/{ID}/start", 500, message)
    assert both(*line.split()).status == code


def test_a_missing_image_is_pulled(engine: FakeEngine, docker: Run, orlop: Run) -> None:
    progress = (
        b'{"status":"Pulling from library/busybox","id":"latest"}\r\n'
        b'{"status":"Pulling fs layer","progressDetail":{},"id":"abc"}\r\n'
        b'{"status":"Downloading","progressDetail":{"current":1,"total":2},"progress":"[=>]","id":"abc"}\r\n'
        b'{"status":"Status: Downloaded newer image for busybox:latest"}\r\n'
    )
    for program in (docker, orlop):
        answers = iter([Answer({"message": "No such image: busybox:latest"}, 404), Answer({"Id": ID}, 201)])
        engine.on("POST", "/containers/create", lambda _, answers=answers: next(answers))
        engine.on("POST", "/images/create", Answer(progress))
        engine.requests.clear()
        outcome = program("create", "busybox")
        assert outcome.stdout == f"{ID}\n"
        assert outcome.stderr.startswith("Unable to find image 'busybox:latest' locally\nlatest: Pulling from library")
        assert "Downloading" not in outcome.stderr
        assert engine.asked("POST", "/images/create")[0].query == {
            "fromImage": ["docker.io/library/busybox"],
            "tag": ["latest"],
        }
    engine.refuse("POST", "/containers/create", 404, "No such image: busybox:latest")
    engine.refuse("POST", "/images/create", 501, "pulling images is not implemented")
    assert orlop("run", "busybox") == docker("run", "busybox")
    assert orlop("run", "--pull", "never", "busybox") == docker("run", "--pull", "never", "busybox")
    engine.on(
        "POST", "/images/create", Answer(json.dumps({"errorDetail": {"message": "denied"}, "error": "denied"}).encode())
    )
    assert orlop("run", "--pull=always", "-q", "busybox") == docker("run", "--pull=always", "-q", "busybox")


def test_sig_proxy_passes_signals_on(engine: FakeEngine, tmp_path: Path) -> None:
    import os
    import signal
    import subprocess
    import sys

    container: FakeContainer

    def until_signalled(connection: socket.socket) -> int:
        connection.sendall(frame(1, b"ready\n"))
        container.signalled.wait(20)
        return 143

    container = FakeContainer(engine, until_signalled)
    environment = {**os.environ, "DOCKER_HOST": f"unix://{engine.socket}"}
    with subprocess.Popen(
        [sys.executable, "-m", "orlop.cli", "run", "busybox"], stdout=subprocess.PIPE, env=environment
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"ready\n"
        client.send_signal(signal.SIGTERM)
        assert client.wait(20) == 143
    assert container.signals == ["TERM"]
