"""Fixtures of the command line's tests: a made-up engine, and `both`, which asks docker and orlop the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_engine import FakeEngine, fake_engine


@dataclass(frozen=True)
class Outcome:
    """What a command printed and how it ended, with the program's name made the same for all."""

    stdout: str
    stderr: str
    status: int


Run = Callable[..., Outcome]


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with tempfile.TemporaryDirectory(prefix="of-") as directory, fake_engine(Path(directory)) as served:
        yield served


def _environment(engine: FakeEngine, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "ORLOP_"))}
    return {**kept, "HOME": str(home), "DOCKER_HOST": f"unix://{engine.socket}", "TZ": "UTC"}


def _neutral(text: str) -> str:
    text = re.sub(r"Is (the docker daemon|orlopd) running", "Is it running", text)
    text = re.sub(r"\b[Dd]ocker daemon\b|\bOrlop daemon\b", "DAEMON", text)
    return re.sub(r"\b(docker|orlop)\b(?![.:/-]\w)", "PROGRAM", text)


def _runner(program: list[str], engine: FakeEngine, home: Path) -> Run:
    def run(*arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Outcome:
        done = subprocess.run(
            [*program, *arguments],
            input=stdin,
            capture_output=True,
            env={**_environment(engine, home), **(env or {})},
            timeout=60,
            check=False,
        )
        return Outcome(_neutral(done.stdout.decode()), _neutral(done.stderr.decode()), done.returncode)

    return run


@pytest.fixture
def orlop(engine: FakeEngine, tmp_path: Path) -> Run:
    """Run `orlop` against the made-up engine."""
    return _runner([sys.executable, "-m", "orlop.cli"], engine, tmp_path)


@pytest.fixture
def docker(engine: FakeEngine, tmp_path: Path) -> Run:
    """Run the real docker client against the made-up engine."""
    if shutil.which("docker") is None:
        pytest.skip("needs the docker command")
    return _runner(["docker"], engine, tmp_path)


@pytest.fixture
def both(docker: Run, orlop: Run) -> Run:
    """Run the same command line with both clients, assert that both print and end alike, and return the outcome."""

    def run(*arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Outcome:
        theirs = docker(*arguments, stdin=stdin, env=env)
        ours = orlop(*arguments, stdin=stdin, env=env)
        assert ours == theirs
        return ours

    return run
