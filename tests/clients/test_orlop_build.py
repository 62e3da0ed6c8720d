"""`orlop build` on the real daemon: what only it does, as a user would see it."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from support.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("image")]

Orlop = Callable[..., CompletedProcess[str]]
Command = Callable[[str], tuple[list[str], dict[str, str]]]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "app"
    directory.mkdir()
    return directory


@pytest.fixture
def build(orlopd: Daemon, context: Path, tmp_path: Path) -> Orlop:
    """Build a context with a Dockerfile, with a cache of digests that is the test's own."""

    def call(dockerfile: str, *words: str, check: bool = True, **options: Any) -> CompletedProcess[str]:
        (context / "Dockerfile").write_text(dockerfile)
        env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
        return orlopd.cli("orlop", "build", *words, str(context), check=check, env=env, **options)

    return call


def transfers(done: CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """Return the last word on each transfer, from raw progress."""
    found = [json.loads(line) for line in done.stderr.splitlines()]
    return {record["vertex"]: record for record in found if record["kind"] == "transfer"}


def test_after_one_change_one_file_is_read_and_sent_and_explain_names_it(build: Orlop, context: Path) -> None:
    for number in range(200):
        (context / f"file{number}").write_text(f"{number} of {context}")
    (context / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")
    time.sleep(0.1)  # what was written just before it is read is not remembered
    dockerfile = "FROM scratch\nCOPY . /\n"
    first = transfers(build(dockerfile, "--progress=rawjson"))["context"]
    assert (first["hashed"], first["files"]) == (200, 200)
    again = transfers(build(dockerfile, "--progress=rawjson"))["context"]
    assert (again["hashed"], again["files"]) == (0, 0)
    (context / "file7").write_text("new")
    done = build(dockerfile, "--progress=rawjson", "--explain")
    changed = transfers(done)["context"]
    assert (changed["hashed"], changed["files"], changed["current"]) == (1, 1, 3)
    assert [line for line in done.stdout.splitlines() if line.startswith("    ")] == [
        f"    file file7: sha256:{hashlib.sha256(f'7 of {context}'.encode()).hexdigest()[:12]} -> sha256:11507a0e2f5e"
    ]


def test_a_tar_from_standard_input_and_a_dockerfile_without_a_context(orlopd: Daemon, build: Orlop) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:xz") as archive:
        for name, text in (
            ("sub/Dockerfile", b"FROM busybox\nCOPY data /\nRUN grep -q here data\n"),
            ("data", b"here"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    words, environment = orlopd.command("orlop")
    for arguments, data in (
        (["-f", "sub/Dockerfile", "-"], stream.getvalue()),
        (["-"], b"FROM busybox\nRUN true\n"),
    ):
        command = [*words, "build", "-q", *arguments]
        done = subprocess.run(command, input=data, capture_output=True, env=environment, timeout=60, check=True)
        assert done.stdout.startswith(b"sha256:")


def test_named_contexts_are_directories_and_images(build: Orlop, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "wanted").write_text("yes")
    (other / "left").write_text("no")
    (other / ".dockerignore").write_text("left")
    dockerfile = (
        "FROM base\nCOPY --from=other . /\nRUN test -e /wanted && test ! -e /left\n"
        "RUN --mount=type=bind,from=other,target=/m grep yes /m/wanted\n"
    )
    build(dockerfile, "--build-context", f"other={other}", "--build-context", "base=docker-image://busybox")


def test_a_shell_opens_where_the_command_failed(build: Orlop, orlopd: Daemon) -> None:
    dockerfile = "FROM busybox\nENV WHERE=here\nWORKDIR /work\nRUN echo half > done; exit 3\n"
    failed = build(dockerfile, "--on-failure=shell", check=False, input="echo $WHERE; pwd; cat done\n")
    assert (failed.returncode, failed.stdout) == (1, "here\n/work\nhalf\n")
    assert "   4 | >>> RUN echo half > done; exit 3\n" in failed.stderr
    assert "returned a non-zero code: 3" in failed.stderr
    assert orlopd.json("GET", "/orlop/build/kept") == []
    behind = build(dockerfile, "--stop-after=2", input="pwd; ls\n")
    assert behind.stdout == "/work\n"
    assert orlopd.json("GET", "/orlop/build/kept") == []


def test_checks_outlines_and_targets(build: Orlop) -> None:
    dockerfile = "ARG V=1\nFROM busybox AS base\n# app is all\nFROM base as app\nARG V\nARG W=2\nMAINTAINER me\n"
    checked = build(dockerfile, "--check", check=False)
    assert checked.returncode == 1
    assert checked.stdout.startswith("Check complete, 2 warnings have been found!\n")
    assert "   4 | >>> FROM base as app\n" in checked.stdout
    assert [line.split() for line in build(dockerfile, "--call=targets").stdout.splitlines()] == [
        ["TARGET", "DESCRIPTION"],
        ["base"],
        ["app", "(default)", "is", "all"],
    ]
    outline = build(dockerfile, "--call=outline", "--target=app").stdout
    assert "V           1" in outline
    assert "W           2" in outline


def test_ctrl_c_ends_the_step(orlopd: Daemon, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo begun; sleep 4321\n")
    words, environment = orlopd.command("orlop")
    with subprocess.Popen([*words, "build", str(context)], stderr=subprocess.PIPE, env=environment) as process:
        assert process.stderr is not None
        while b"begun\n" not in (line := process.stderr.readline()) or b"echo" in line:
            assert line
        assert any(b"4321" in command for command in orlopd.commands())
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(20) == 130
    assert rest.endswith(b"CANCELED\n\nERROR: failed to build: canceled\n")
    deadline = time.monotonic() + 20
    while any(b"4321" in command for command in orlopd.commands()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_cache_is_shown_and_pruned(build: Orlop, orlopd: Daemon) -> None:
    build("FROM busybox\nRUN echo cached > /file\n")
    shown = orlopd.cli("orlop", "builder", "du", "--verbose").stdout
    assert "Description:  [2/2] RUN echo cached > /file\n" in shown
    pruned = orlopd.cli("orlop", "builder", "prune", "--all", "--force").stdout
    assert pruned.startswith("Deleted build cache objects:\n")
    assert "Total reclaimed space: " in pruned
    assert "Total:        0B" in orlopd.cli("orlop", "builder", "du").stdout
