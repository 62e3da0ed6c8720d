"""The fixtures that all tests share: daemons, the clients that talk to them, images, network namespaces.

``orlopd`` is one daemon for the whole run. Each module that uses it finds it empty (of containers and volumes; images
stay) and is checked to leave it so: no process, mount, link, rule, cgroup, descriptor or directory more than before.
``daemon`` is a factory for tests that need one of their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support import leaks
from support.daemon import Daemon
from support.daemon import daemon as running_daemon
from support.netns import NetworkNamespace, network_namespace

if TYPE_CHECKING:
    from docker import DockerClient  # type: ignore[import-untyped]

# How long an example takes says more of the machine's load than of the code.
hypothesis.settings.register_profile("orlop", deadline=None)
hypothesis.settings.load_profile("orlop")

ROOT = Path(__file__).resolve().parent.parent
IMAGE = "busybox:latest"

Cli = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, with the reason."""
    reasons = {
        "root": None if os.geteuid() == 0 else "needs root",
        "docker": None if shutil.which("docker") else "needs the docker command",
    }
    for item in items:
        for name, reason in reasons.items():
            if reason and item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))


def _need_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    for program in ("ip", "nsenter", "nft"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


@pytest.fixture
def netns() -> Iterator[NetworkNamespace]:
    """A network namespace of its own, with loopback up."""
    _need_root()
    with network_namespace() as namespace:
        yield namespace


@pytest.fixture
def daemon() -> Iterator[Callable[..., Daemon]]:
    """A factory of daemons: ``daemon("--bip=10.9.0.1/24")``; they end with the test and must leave nothing."""
    _need_root()
    with ExitStack() as stack:

        def start(*arguments: str, netns: NetworkNamespace | None = None) -> Daemon:
            return stack.enter_context(running_daemon(*arguments, netns=netns))

        yield start


@pytest.fixture(scope="session")
def _session_daemon() -> Iterator[Daemon]:
    _need_root()
    with running_daemon() as instance:
        yield instance


@pytest.fixture(scope="session")
def image_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base image as a file that `load` takes."""
    path = tmp_path_factory.mktemp("image") / "busybox.tar"
    subprocess.run([sys.executable, ROOT / "scripts/base_image.py", "--tag", IMAGE, path], check=True)
    return path


@pytest.fixture(scope="session")
def _loaded_image(_session_daemon: Daemon, image_archive: Path) -> str:
    _session_daemon.load(image_archive)
    return IMAGE


@pytest.fixture(scope="module")
def orlopd(_session_daemon: Daemon) -> Iterator[Daemon]:
    """The daemon of this run, empty, and checked to be left so."""
    before = leaks.settled(_session_daemon)
    yield _session_daemon
    assert _session_daemon.answers(), f"the daemon does not answer any more:\n{_session_daemon.log_tail()}"
    _session_daemon.remove_everything()
    leaks.assert_same(_session_daemon, before)


@pytest.fixture
def image(_loaded_image: str, orlopd: Daemon) -> str:
    """The name of the base image, which the daemon has."""
    return _loaded_image


@pytest.fixture
def docker(orlopd: Daemon) -> Cli:
    """Run the real docker command: ``docker("run", "--rm", "busybox", "true")``; ``check=False`` allows failures."""
    if shutil.which("docker") is None:
        pytest.skip("needs the docker command")
    return lambda *words, **options: orlopd.cli("docker", *words, **options)


@pytest.fixture
def orlop(orlopd: Daemon) -> Cli:
    """Run the orlop command, as `docker` does."""
    return lambda *words, **options: orlopd.cli("orlop", *words, **options)


@pytest.fixture
def cli_command(orlopd: Daemon) -> Callable[[str], tuple[list[str], dict[str, str]]]:
    """Return the words and the environment of a command ("docker" or "orlop"), for tests that start it themselves."""
    return orlopd.command


@pytest.fixture
def docker_py(orlopd: Daemon) -> Iterator[DockerClient]:
    """A docker-py client."""
    import docker

    client = docker.DockerClient(base_url=orlopd.host, timeout=60)
    yield client
    client.close()
