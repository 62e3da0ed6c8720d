"""`orlop build --check`: what is known beyond the Dockerfile is checked, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("image")]

Orlop = Callable[..., CompletedProcess[str]]


def test_images_and_ignored_files_are_known_to_the_checks(orlop: Orlop, tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("*.log\n")
    (tmp_path / "Dockerfile").write_text("FROM busybox\nCOPY a.log $PATH/\nCOPY b $NOWHERE/\n")
    told = orlop("build", "--check", tmp_path, check=False)
    assert told.returncode == 1
    lines = [line for line in told.stdout.splitlines() if line.startswith(("Check", "WARNING"))]
    pages = "https://docs.docker.com/go/dockerfile/rule/"
    assert lines == [
        "Check complete, 2 warnings have been found!",
        f"WARNING: CopyIgnoredFile - {pages}copy-ignored-file/",
        f"WARNING: UndefinedVar - {pages}undefined-var/",
    ]


def test_a_dockerfile_that_wants_to_be_checked_is_not_built(orlop: Orlop, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("# check=error=true\nFROM busybox AS A\n")
    built = orlop("build", tmp_path, check=False)
    assert built.returncode == 1
    assert "ERROR: failed to build: lint violation found for rules: StageNameCasing" in built.stderr
