"""The same Dockerfiles by Orlop, by BuildKit and by docker's classic builder: the same files, the same configuration.

What Orlop built is looked at three ways: as a third party unpacks its archive, as its own snapshot shows it, and as the
other client builds it again from the cache.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from support.buildkit import BuildKit, buildkit
from support.daemon import Daemon
from support.dockerd import Dockerd, dockerd
from support.dockerfile_features import FEATURES, feature_context
from support.dockerfile_patterns import PATTERNS, Pattern, pattern_context
from support.unpacked import Unpacked, directory, unpacked

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.slow]

Ours = Callable[[str], Unpacked]

ALL = {name: Pattern(text) for name, text in FEATURES.items()} | {
    f"an image like {name}": pattern for name, pattern in PATTERNS.items()
}

BUILDKIT_DIFFERS = {
    "an image like pause": ({"/dev", "/proc", "/sys"}, "the mount points of a RUN stay in an image of nothing else"),
}
"""Paths that are not the same, and why."""

CLASSIC_DIFFERS = {
    "accounts with fixed ids and a directory of theirs": (
        {"/srv/data/file", "/srv/data/made"},
        "what a RUN writes into a volume is dropped; a WORKDIR is root's, not the user's",
    ),
    "steps that change little": (
        {"/etc/hostname"},
        "it is mounted over during a RUN, and what is written there is dropped",
    ),
    "an image like caddy": ({"/opt/copied", "/opt/owned"}, "a COPY from a stage drops capabilities"),
    "an image like distroless": ({"/home"}, "parents that a COPY --chown makes are root's"),
    "an image like jupyter": ({"/home/jovyan/new"}, "a WORKDIR is root's, not the user's"),
    "an image like wordpress": ({"/usr/src"}, "parents that a COPY --chown makes are root's"),
}

CLASSIC_CANNOT = {
    "an image like apt": "RUN --mount",
    "an image like buildkit": "RUN --mount, named contexts, BUILDPLATFORM",
    "an image like distribution": "RUN --mount",
    "an image like golang": "--link",
    "an image like gradle": "RUN --mount",
    "an image like moby": "RUN --mount; it builds stages that nothing needs",
    "an image like rails": "RUN --mount",
    "an image like uv": "RUN --mount",
}
"""What dockerd 20.10's classic builder does not know."""

CLASSIC_TOO = [what for what in ALL if what in CLASSIC_DIFFERS or (what not in FEATURES and what not in CLASSIC_CANNOT)]

CLASSIC_FIELDS = {"ArgsEscaped", "Image", "WorkingDir"}
"""Of the configuration: the first is BuildKit's alone, the second the classic builder's; the third below."""

MADE_BY_CONTAINERS = {
    *("/.dockerenv", "/dev", "/dev/console", "/dev/pts", "/dev/shm", "/proc", "/sys"),
    *("/etc", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf"),
}
"""What the root of a container may have beside its image's."""


@pytest.fixture(scope="module")
def peer(image_archive: Path) -> Iterator[BuildKit]:
    with buildkit() as running:
        running.add_base("busybox", image_archive)
        yield running


@pytest.fixture(scope="module")
def classic(image_archive: Path) -> Iterator[Dockerd]:
    with dockerd() as running:
        running.run("load", "-i", image_archive)
        yield running


@pytest.fixture(scope="module")
def ours(orlopd: Daemon, image_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Ours:
    """Build one of the Dockerfiles with Orlop, once."""
    if shutil.which("umoci") is None:
        pytest.skip("needs umoci")
    orlopd.load(image_archive)
    return cache(lambda what: _by_orlop(orlopd, what, tmp_path_factory.mktemp("ours")))


@pytest.mark.parametrize("what", ALL)
def test_buildkit_makes_the_same(what: str, peer: BuildKit, ours: Ours, tmp_path: Path) -> None:
    theirs, mine = _by_buildkit(peer, what, tmp_path), ours(what)
    assert mine.config == theirs.config
    assert mine.platform == theirs.platform
    assert mine.steps == theirs.steps
    assert mine.layers == mine.steps.count(True)
    _assert_same_files(mine, theirs, BUILDKIT_DIFFERS.get(what, (set(), ""))[0])


@pytest.mark.parametrize("what", CLASSIC_TOO)
def test_the_classic_builder_makes_the_same(what: str, classic: Dockerd, ours: Ours, tmp_path: Path) -> None:
    theirs, mine = _by_classic(classic, what, tmp_path), ours(what)
    differing = {name for name, _ in mine.config.items() ^ theirs.config.items()}
    assert differing <= CLASSIC_FIELDS
    assert mine.config.get("WorkingDir", "/") == theirs.config.get("WorkingDir", "/")
    assert mine.platform == theirs.platform
    _assert_same_files(mine, theirs, CLASSIC_DIFFERS.get(what, (set(), ""))[0])


def _assert_same_files(mine: Unpacked, theirs: Unpacked, but: set[str]) -> None:
    """Compare trees. What is excepted has to differ: an exception that is none any more is to go."""
    paths = mine.files.keys() | theirs.files.keys()
    assert {path for path in paths if mine.files.get(path) != theirs.files.get(path)} >= but
    expected = {path: facts for path, facts in theirs.files.items() if path not in but}
    assert {path: facts for path, facts in mine.files.items() if path not in but} == expected


def _context(what: str, place: Path) -> Path:
    """Write a Dockerfile and its context."""
    context = place / "context"
    (feature_context if what in FEATURES else pattern_context)(context)
    (context / "Dockerfile").write_text(ALL[what].text.lstrip("\n"))
    return context


def _by_buildkit(peer: BuildKit, what: str, place: Path) -> Unpacked:
    pattern, context, archive = ALL[what], _context(what, place), place / "image.tar"
    options = {f"build-arg:{name}": value for name, value in pattern.arguments.items()}
    if pattern.target:
        options["target"] = pattern.target
    peer.build(context, archive, options, {name: context / below for name, below in pattern.contexts.items()})
    return unpacked(archive)


def _by_classic(classic: Dockerd, what: str, place: Path) -> Unpacked:
    archive = place / "image.tar"
    classic.run("build", "-q", "-t", "theirs", *_flags(ALL[what]), _context(what, place))
    classic.run("save", "-o", archive, "theirs")
    return unpacked(archive)


def _by_orlop(daemon: Daemon, what: str, place: Path) -> Unpacked:
    """Build by one client and again by the other; compare what is saved with the snapshot."""
    pattern, context, archive = ALL[what], _context(what, place), place / "image.tar"
    named = [f"--build-context={name}={context / below}" for name, below in pattern.contexts.items()]
    try:
        if not named:  # which the classic API does not have
            daemon.cli("docker", "build", "-q", "--no-cache", "-t", "first", *_flags(pattern), context)
        daemon.cli("orlop", "build", "-q", "-t", "ours", *_flags(pattern), *named, context)
        assert named or _layers(daemon, "ours") == _layers(daemon, "first")
        daemon.cli("docker", "save", "-o", archive, "ours")
        found = unpacked(archive)
        snapshot = _snapshot(daemon, "ours", place)
    finally:
        daemon.cli("docker", "rmi", "-f", "first", "ours", check=False)
        daemon.cli("docker", "builder", "prune", "-af")
    assert snapshot.keys() - found.files.keys() <= MADE_BY_CONTAINERS
    assert {path: snapshot.get(path) for path in found.files} == found.files
    return found


def _flags(pattern: Pattern) -> list[str]:
    target = [f"--target={pattern.target}"] if pattern.target else []
    return [*target, *(f"--build-arg={name}={value}" for name, value in pattern.arguments.items())]


def _layers(daemon: Daemon, name: str) -> str:
    return daemon.cli("docker", "inspect", "-f", "{{.RootFS.Layers}}", name).stdout


def _snapshot(daemon: Daemon, name: str, place: Path) -> dict[str, object]:
    """Return the files of an image as a container of it has them."""
    container = daemon.cli("docker", "create", name, "none").stdout.strip()
    daemon.cli("docker", "export", "-o", place / "exported.tar", container)
    daemon.cli("docker", "rm", "-v", container)
    root = place / "exported"
    root.mkdir()
    command = ["tar", "-xpf", place / "exported.tar", "--numeric-owner", "--xattrs", "--xattrs-include=security.*"]
    subprocess.run([*command, "-C", root], check=True)
    found = directory(root)
    shutil.rmtree(root)
    return found
