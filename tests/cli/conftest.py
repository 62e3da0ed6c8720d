"""Fixtures of the command line's tests: a made-up engine, and `both`, which asks docker and orlop the same."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fake_engine import FakeEngine, fake_engine
from support.side_by_side import Outcome, Run, runner


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with tempfile.TemporaryDirectory(prefix="of-") as directory, fake_engine(Path(directory)) as served:
        yield served


@pytest.fixture
def orlop(engine: FakeEngine, tmp_path: Path) -> Run:
    """Run `orlop` against the made-up engine."""
    return runner([sys.executable, "-m", "orlop.cli"], engine, tmp_path)


@pytest.fixture
def docker(engine: FakeEngine, tmp_path: Path) -> Run:
    """Run the real docker client against the made-up engine."""
    if shutil.which("docker") is None:
        pytest.skip("needs the docker command")
    return runner(["docker"], engine, tmp_path)


@pytest.fixture
def both(docker: Run, orlop: Run) -> Run:
    """Run the same command line with both clients, assert that both print and end alike, and return the outcome."""

    def run(*arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Outcome:
        theirs = docker(*arguments, stdin=stdin, env=env)
        ours = orlop(*arguments, stdin=stdin, env=env)
        assert ours == theirs
        return ours

    return run
