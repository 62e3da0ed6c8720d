"""Volumes with type, device and o: mounted while containers run with them, and never more than that."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orlop.linux.mountinfo import mount_points
from support.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]


@pytest.fixture
def engine(daemon: Callable[..., Daemon], image_archive: Path) -> Iterator[Daemon]:
    """A daemon with a volume ``memory``, a tmpfs; in the end nothing is mounted any more."""
    instance = daemon()
    instance.load(image_archive)
    options = ("type=tmpfs", "device=tmpfs", "o=size=1m,mode=1777")
    instance.cli("docker", "volume", "create", *(f"--opt={option}" for option in options), "memory")
    yield instance
    if instance.process is None:
        instance.start()
    instance.remove_everything()
    unmounted(instance)


def mounted(daemon: Daemon) -> list[str]:
    """Return what is mounted below the data root, as the daemon sees it."""
    points = mount_points(Path(f"/proc/{daemon.pid}/mountinfo").read_bytes())
    return [point.removeprefix(f"{daemon.data_root}/") for point in points if point.startswith(f"{daemon.data_root}/")]


def unmounted(daemon: Daemon) -> None:
    deadline = time.monotonic() + 20
    while mounted(daemon):
        assert time.monotonic() < deadline, mounted(daemon)
        time.sleep(0.02)


def run(daemon: Daemon, name: str) -> None:
    daemon.cli("docker", "run", "-d", "--name", name, "-v", "memory:/memory", "busybox", "sleep", "1000")


def test_containers_share_a_tmpfs_that_goes_with_the_last_of_them(engine: Daemon) -> None:
    assert mounted(engine) == []
    run(engine, "first")
    run(engine, "second")
    assert mounted(engine) == ["volumes/memory/_data"]
    engine.cli("docker", "exec", "first", "sh", "-c", "echo shared >/memory/file")
    assert engine.cli("docker", "exec", "second", "cat", "/memory/file").stdout == "shared\n"
    assert "1.0M" in engine.cli("docker", "exec", "second", "df", "-h", "/memory").stdout
    refused = engine.cli("docker", "volume", "rm", "memory", check=False).stderr
    assert "volume is in use" in refused
    engine.cli("docker", "rm", "-f", "first")
    assert engine.cli("docker", "exec", "second", "cat", "/memory/file").stdout == "shared\n"
    engine.cli("docker", "kill", "second")
    unmounted(engine)
    engine.cli("docker", "start", "second")
    assert engine.cli("docker", "exec", "second", "ls", "/memory").stdout == ""


def test_what_is_mounted_takes_nothing_of_the_data_root(engine: Daemon) -> None:
    run(engine, "user")
    engine.cli("docker", "exec", "user", "dd", "if=/dev/zero", "of=/memory/file", "bs=1k", "count=900")
    usage = engine.json("GET", "/system/df")
    (volume,) = usage["Volumes"]
    assert volume["UsageData"]["Size"] == 0
    assert usage["DataRoot"]["Volumes"] < 100_000


def test_what_lies_behind_a_volume_outlives_it(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    options = ("type=none", f"device={tmp_path}", "o=bind,ro")
    engine.cli("docker", "volume", "create", *(f"--opt={option}" for option in options), "elsewhere")
    words = ("run", "--rm", "-v", "elsewhere:/data", "busybox", "sh", "-c", "cat /data/kept; touch /data/new")
    done = engine.cli("docker", *words, check=False)
    assert done.stdout == "kept"
    assert "Read-only file system" in done.stderr
    engine.cli("docker", "volume", "prune", "-af")
    engine.cli("docker", "volume", "rm", "elsewhere")
    assert os.listdir(tmp_path) == ["kept"]


def test_a_mount_that_fails_is_told_in_dockers_words_and_leaves_nothing(engine: Daemon) -> None:
    engine.cli("docker", "volume", "create", "-o", "type=nope", "-o", "device=x", "-o", "o=a=b", "broken")
    data = engine.data_root / "volumes/broken/_data"
    words = (
        "run",
        "--name",
        "failing",
        "-v",
        "memory:/memory:nocopy",
        "-v",
        "broken:/broken:nocopy",
        "busybox",
        "true",
    )
    done = engine.cli("docker", *words, check=False)
    assert (
        f"error while mounting volume '{data}': failed to mount local volume: mount x:{data}, data: a=b: no such device"
    ) in done.stderr
    unmounted(engine)


def test_mounts_are_taken_over_by_the_next_daemon_and_removed_where_nobody_is_left(engine: Daemon) -> None:
    run(engine, "first")
    engine.cli("docker", "exec", "first", "sh", "-c", "echo shared >/memory/file")
    engine.kill()
    engine.start()
    run(engine, "second")
    assert engine.cli("docker", "exec", "second", "cat", "/memory/file").stdout == "shared\n"
    assert mounted(engine) == ["volumes/memory/_data"]
    pids = [engine.json("GET", f"/containers/{name}/json")["State"]["Pid"] for name in ("first", "second")]
    engine.kill()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.02)
    engine.start()
    unmounted(engine)
    engine.cli("docker", "rm", "first", "second")
    engine.cli("docker", "volume", "rm", "memory")
