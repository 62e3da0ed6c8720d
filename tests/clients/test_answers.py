"""Answers that Docker's own integration tests look at: each of these once was another one than dockerd's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from support.daemon import Daemon

pytestmark = pytest.mark.root

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_links_follow_renames_and_are_names_of_their_targets(docker: Cli, image: str) -> None:
    docker("run", "-d", "--name=db", image, "sleep", "100")
    docker("run", "-d", "--name=app", "--link=db:/mysql", image, "sleep", "100")
    assert json.loads(docker("inspect", "-f", "{{json .HostConfig.Links}}", "app").stdout) == ["/db:/app/mysql"]
    docker("rename", "db", "base")
    docker("rename", "app", "shop")
    assert json.loads(docker("inspect", "-f", "{{json .HostConfig.Links}}", "shop").stdout) == ["/base:/shop/mysql"]
    assert docker("inspect", "-f", "{{.Name}}", "shop/mysql").stdout == "/base\n"
    names = docker("ps", "--no-trunc", "--filter=name=^/base$", "--format={{.Names}}").stdout
    assert names == "base,shop/mysql\n"
    docker("restart", "-t0", "shop")


def test_a_stream_is_framed_as_its_own_request_says(orlopd: Daemon, docker: Cli, image: str) -> None:
    docker("run", "-d", "--name=sleeper", image, "sleep", "100")
    command = {"Cmd": ["echo", "hi"], "Tty": True, "AttachStdout": True}
    for tty, expected in ((False, b"\x01\0\0\0\0\0\0\x04hi\r\n"), (True, b"hi\r\n")):
        created = orlopd.json("POST", "/containers/sleeper/exec", command)["Id"]
        assert orlopd.request("POST", f"/exec/{created}/start", {"Tty": tty}) == (200, expected)


def test_subpaths_are_looked_at_when_they_are_mounted(docker: Cli, image: str) -> None:
    docker("volume", "create", "parts")
    make = "cd /v && mkdir bin data && ln -s / out && echo hi > data/f"
    docker("run", "--rm", "-v", "parts:/v", image, "sh", "-c", make)
    mount = "--mount=type=volume,src=parts,dst={},volume-subpath={}"
    assert docker("run", "--rm", mount.format("/w", "data"), image, "cat", "/w/f").stdout == "hi\n"
    assert docker("run", "--rm", mount.format("/bin", "bin"), image, "ls", "/bin/cat").stdout == "/bin/cat\n"
    for subpath, message in (("none", "cannot access path"), ("out", "path concatenation escapes the base directory")):
        created = docker("create", mount.format("/w", subpath), image, "true").stdout.strip()
        refused = docker("start", created, check=False)
        assert refused.returncode == 1
        assert message in refused.stderr


def test_limits_can_be_lifted_and_paths_are_cleaned(docker: Cli, image: str) -> None:
    limited = ("--pids-limit=32", "-w", "/tmp/", "--tmpfs=/t")
    docker("run", "-d", "--name=limited", *limited, image, "sleep", "100")
    docker("update", "--pids-limit=-1", "limited")
    shown = "{{.HostConfig.PidsLimit}} {{.Config.WorkingDir}} {{len .Mounts}}"
    assert docker("inspect", "-f", shown, "limited").stdout == "0 /tmp 0\n"


def test_what_is_no_signal_is_refused(docker: Cli, image: str) -> None:
    docker("run", "-d", "--name=target", image, "sleep", "100")
    for signal in ("0", "SIG42", "65", "NOPE"):
        refused = docker("kill", "-s", signal, "target", check=False)
        assert (refused.returncode, f"nvalid signal: {signal}" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    ("platform", "message"),
    [
        ("macos", "operating system is not supported"),
        ("/", "is an invalid OS component"),
        ("nintendo64", "unknown operating system or architecture"),
    ],
)
def test_platforms_that_cannot_be_imported_are_refused(docker: Cli, platform: str, message: str) -> None:
    refused = docker("import", f"--platform={platform}", "-", input="\0" * 1024, check=False)
    assert (refused.returncode, message in refused.stderr) == (1, True)


def test_a_system_alone_is_a_platform_to_import(docker: Cli) -> None:
    made = docker("import", "--platform=linux", "-", "empty", input="\0" * 1024)
    assert made.stdout.startswith("sha256:")
    docker("rmi", "empty")
