"""The attacker, and the host that is watched around every attack.

A directory with a secret and a few of the host's own files have to be as they were, the daemon has to answer, and
nothing may be left behind.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import leaks
from support.attacker import BUSYBOX, Attacker, Outcome
from support.daemon import Daemon

HOST_FILES = ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/etc/passwd", "/etc/hosts")


@pytest.fixture
def secret(tmp_path: Path) -> Iterator[Path]:
    """A file of the host that no container may read, in a directory that none may change."""
    directory = tmp_path / "canary"
    directory.mkdir()
    (directory / "secret").write_text(secrets.token_hex(16))
    before = _tree(directory)
    yield directory / "secret"
    assert _tree(directory) == before, "the host was written to"


@pytest.fixture
def attacker(orlopd: Daemon, image: str, secret: Path, tmp_path: Path) -> Iterator[Attacker]:
    """The attacker, watched."""
    if BUSYBOX is None:
        pytest.skip("needs busybox-static")
    files = {path: Path(path).read_text() for path in HOST_FILES}
    before = leaks.settled(orlopd)
    attack = Attacker(orlopd, tmp_path)
    yield attack
    assert orlopd.answers(), orlopd.log_tail()
    attack.close()
    assert {path: Path(path).read_text() for path in HOST_FILES} == files
    leaks.assert_same(orlopd, before)


@pytest.fixture
def python(attacker: Attacker) -> Callable[..., Outcome]:
    """Run a script of Python in a container: ``python(script, *arguments, host={…})``."""
    attacker.load_tools()
    return attacker.python


def _tree(directory: Path) -> dict[str, str]:
    return {str(path): path.read_text() if path.is_file() else "" for path in sorted(directory.rglob("*"))}
