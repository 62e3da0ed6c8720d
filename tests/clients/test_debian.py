"""A whole Debian, made by debootstrap, loads and runs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]

Cli = Callable[..., subprocess.CompletedProcess[str]]
CACHE = Path("/var/tmp/orlop-debian.tar")


@pytest.fixture(scope="module")
def tree() -> Path:
    """A minimal Debian with Python as a tar file, made once a machine."""
    if CACHE.exists():
        return CACHE
    if shutil.which("debootstrap") is None:
        pytest.skip("needs debootstrap")
    directory = CACHE.with_suffix(".tree")
    fresh = CACHE.with_suffix(".new")
    shutil.rmtree(directory, ignore_errors=True)
    try:
        command = ["debootstrap", "--variant=minbase", "--include=python3-minimal", "stable", str(directory)]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"debootstrap could not make a Debian: {made.stdout[-300:]}{made.stderr[-300:]}")
        subprocess.run(["tar", "--xattrs", "-C", directory, "-cf", fresh, "."], check=True)
        fresh.rename(CACHE)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return CACHE


@pytest.fixture
def debian(tree: Path, docker: Cli) -> Iterator[str]:
    docker("import", "--change", "CMD /bin/bash", tree, "debian:test", timeout=300)
    yield "debian:test"
    docker("rmi", "-f", "debian:test")


def test_a_debian_image_runs_its_programs(debian: str, docker: Cli) -> None:
    assert docker("run", "--rm", debian, "apt-get", "--version").stdout.startswith("apt ")
    program = "import os; [os.fork() or os._exit(n) for n in range(4)]; print(sum(os.wait()[1] >> 8 for _ in range(4)))"
    assert docker("run", "--rm", debian, "python3", "-c", program).stdout == "6\n"
    assert docker(
        "run",
        "--rm",
        debian,
        "bash",
        "-c",
        "for i in 1 2 3; do (sleep 0.1; echo $i) & done; wait; ls /proc | grep -c '^[0-9]'",
    ).stdout
    assert docker("run", "--rm", "-u", "nobody", debian, "id", "-un").stdout == "nobody\n"


def test_setuid_bits_owners_and_capabilities_of_files_survive(debian: str, docker: Cli) -> None:
    assert docker("run", "--rm", debian, "stat", "-c", "%A %U:%G", "/usr/bin/passwd").stdout == "-rwsr-xr-x root:root\n"
    assert docker("run", "--rm", debian, "stat", "-c", "%a", "/tmp").stdout == "1777\n"
