"""`system check`: every kind of damage that is done on purpose is found, told of, and mended where that is possible."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orlop.engine.system.check import check as engine_check
from orlop.errors import Conflict
from support.archives import Image, Lab, docker_archive, layer, member, tree
from support.daemon import Daemon

pytestmark = pytest.mark.root

Json = dict[str, Any]
Damage = Callable[[Path], None]

BASE = layer(
    member("./"),
    member("etc/"),
    member("etc/passwd", b"root:x:0:0"),
    member("etc/again", kind=b"1", linkname="etc/passwd"),
    member("etc/link", kind=b"2", linkname="passwd"),
    member("etc/tool", b"#!", mode=0o4755, uid=7, pax_headers={"SCHILY.xattr.user.note": "kept"}),
    member("dev/"),
    member("dev/null", kind=b"3", devmajor=1, devminor=3),
    member("dev/fifo", kind=b"6"),
)
TOP = layer(member("./"), member("etc/"), member("etc/.wh.link", b""), member("top", b"t" * 100_000))
LEANING = layer(member("etc/more", b"m"))  # says nothing of etc: it is unpacked on what lies below
IMAGE = Image([BASE, TOP, LEANING], ["sound:1"])


@pytest.fixture
def own(daemon: Callable[..., Daemon], tmp_path: Path) -> Daemon:
    instance = daemon()
    load(instance, tmp_path)
    return instance


def load(daemon: Daemon, directory: Path, *images: Image) -> None:
    archive = directory / "images.tar"
    archive.write_bytes(docker_archive(*(images or (IMAGE,))))
    daemon.load(archive)


def check(daemon: Daemon, *, repair: bool = False) -> tuple[list[Json], Json]:
    """Return the problems and the summary."""
    status, body = daemon.request("POST", f"/orlop/system/check?repair={int(repair)}")
    assert status == 200, body
    messages = list(map(json.loads, body.splitlines()))
    assert not any("error" in message for message in messages), messages
    return [message["Problem"] for message in messages if "Problem" in message], messages[-1]["Summary"]


def layer_of(daemon: Daemon, name: str) -> Path:
    """Return the layer's directory that has the file `name`."""
    return next(path for path in (daemon.data_root / "layers").iterdir() if os.path.lexists(path / name))


def assert_sound(daemon: Daemon) -> None:
    problems, summary = check(daemon)
    assert problems == []
    assert summary["Problems"] == 0


def test_a_sound_store_is_told_to_be_sound(own: Daemon) -> None:
    assert_sound(own)
    done = own.cli("orlop", "system", "check", check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("Checked 1 image, 4 blobs, 3 layers, 0 containers (")
    assert done.stdout.endswith("): all is sound.\n")


def _flip(path: Path) -> None:
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("name", "damage", "detail"),
    [
        ("top", _flip, "top: other contents"),
        ("top", lambda path: os.truncate(path, 5), "top: 5 bytes instead of 100000"),
        ("top", Path.unlink, "top: is missing"),
        ("top", lambda path: path.chmod(0o666), "top: mode 0666 instead of 0644"),
        ("top", lambda path: os.utime(path, (1, 1)), "top: another modification time"),
        ("top", _replace_by_directory, "top: is a directory instead of a file"),
        ("top", lambda path: path.with_name("stray").touch(), "stray: does not belong there"),
        ("top", lambda path: path.parent.chmod(0o700), "/: mode 0700 instead of 0755"),
        ("etc/tool", lambda path: os.chown(path, 0, 0), "etc/tool: owner 0:0 instead of 7:0"),
        ("etc/tool", lambda path: os.removexattr(path, "user.note"), "etc/tool: other extended attributes"),
        ("dev/null", lambda path: (path.unlink(), os.mknod(path, 0o20644, 0x105))[1], "dev/null: another device"),
        ("dev/fifo", lambda path: path.chmod(0o600), "dev/fifo: mode 0600 instead of 0644"),
        ("etc/more", _flip, "etc/more: other contents"),
    ],
)  # fmt: skip
def test_damage_in_a_layer_is_found_and_the_layer_unpacked_again(
    own: Daemon, name: str, damage: Damage, detail: str
) -> None:
    damage(layer_of(own, name) / name)
    problems, summary = check(own)
    assert [(problem["Kind"], problem["Images"], problem["Mended"]) for problem in problems] == [
        ("layer", ["sound:1"], "")
    ]
    assert detail in problems[0]["Details"]
    assert (summary["Problems"], summary["Mended"]) == (1, 0)
    problems, _ = check(own, repair=True)
    assert [problem["Mended"] for problem in problems] == ["unpacked again from its blob"]
    assert_sound(own)


def test_links_that_were_changed_are_found(own: Daemon) -> None:
    etc = layer_of(own, "etc/passwd") / "etc"
    (etc / "again").unlink()
    shutil.copy2(etc / "passwd", etc / "again")
    (etc / "link").unlink()
    (etc / "link").symlink_to("/etc/shadow")
    details = check(own)[0][0]["Details"]
    assert {"etc/again: other hard links", "etc/link: leads elsewhere"} <= set(details)
    check(own, repair=True)
    assert_sound(own)


def test_a_whiteout_that_went_is_found(own: Daemon) -> None:
    (layer_of(own, "top") / "etc/link").unlink()
    assert "etc/link: is missing" in check(own)[0][0]["Details"]
    check(own, repair=True)
    assert_sound(own)


@pytest.mark.parametrize("name", ["top", "etc/passwd", "etc/more"])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_layer_that_was_lost_is_unpacked_again(own: Daemon, name: str, restarted: bool) -> None:
    shutil.rmtree(layer_of(own, name))
    if restarted:
        own.restart()
    assert [problem["Kind"] for problem in check(own)[0]] == ["layer"]
    assert [problem["Mended"] for problem in check(own, repair=True)[0]] == ["unpacked again from its blob"]
    assert_sound(own)
    assert layer_of(own, name).is_dir()


def _blobs(daemon: Daemon) -> dict[str, Path]:
    """Return the blobs of the image by what they are: its configuration and its layers, lowest first."""
    size = {path: path.stat().st_size for path in (daemon.data_root / "content/sha256").iterdir()}
    config = daemon.data_root / "content/sha256" / IMAGE.id.removeprefix("sha256:")
    layers = sorted((path for path in size if path != config), key=lambda path: size[path])
    return {"configuration": config, "layer": layers[-1]}


@pytest.mark.parametrize("which", ["configuration", "layer"])
@pytest.mark.parametrize("damage", [_flip, lambda path: os.truncate(path, 20), Path.unlink], ids=["flip", "cut", "rm"])
def test_a_blob_that_cannot_be_mended_comes_with_the_next_load(
    own: Daemon, tmp_path: Path, which: str, damage: Damage
) -> None:
    path = _blobs(own)[which]
    damage(path)
    problems, _ = check(own)
    assert (problems[-1]["Kind"], problems[-1]["Name"]) == ("blob", f"sha256:{path.name}")
    assert problems[-1]["Remedy"] == "pull or load the image again"
    done = own.cli("orlop", "system", "check", "--repair", check=False)
    assert done.returncode == 1
    assert "to do: pull or load the image again" in done.stdout
    load(own, tmp_path)
    assert_sound(own)


@pytest.mark.docker
def test_a_blob_that_a_commit_made_is_made_again_bit_by_bit(own: Daemon, image_archive: Path) -> None:
    own.load(image_archive)
    content = own.data_root / "content/sha256"
    known = set(os.listdir(content))
    own.cli("docker", "run", "--name", "maker", "busybox", "sh", "-c", "rm -r /usr; echo a > /b; chmod 600 /etc/group")
    config = own.cli("docker", "commit", "maker", "made:1").stdout.strip().removeprefix("sha256:")
    (blob,) = set(os.listdir(content)) - known - {config}
    data = (content / blob).read_bytes()
    for damage in (_flip, Path.unlink):
        damage(content / blob)
        assert [problem["Mended"] for problem in check(own, repair=True)[0]] == ["made again of the layer's directory"]
        assert (content / blob).read_bytes() == data
    assert_sound(own)


def test_what_belongs_to_nothing_is_found_and_removed(own: Daemon) -> None:
    root = own.data_root
    strays = [
        root / "content/sha256" / ("a" * 64),
        root / "content/sha256/note",
        root / "content/md5",
        root / "layers/sha256-dead",
        root / "layers/file",
        root / "tmp/left-behind",
        root / "containers" / ("c" * 64),
    ]
    for path in strays:
        if path.parent.name == "containers" or path.name in ("md5", "sha256-dead"):
            (path / "deep").mkdir(parents=True)
        else:
            path.write_bytes(b"x")
    found = {problem["Name"] for problem in check(own)[0]}
    assert found == {str(path) for path in strays[1:]} | {f"sha256:{strays[0].name}"}
    problems, summary = check(own, repair=True)
    assert {problem["Mended"] for problem in problems} == {"removed"}
    assert summary["Problems"] == summary["Mended"] == len(strays)
    assert not any(os.path.lexists(path) for path in strays)
    assert_sound(own)


def test_a_name_that_leads_nowhere_is_forgotten(own: Daemon) -> None:
    own.stop()
    with sqlite3.connect(own.data_root / "orlop.db") as database:
        database.execute("INSERT INTO image_references VALUES ('docker.io/library/lost:1', 'sha256:none')")
    database.close()
    own.start()
    assert [problem["Name"] for problem in check(own)[0]] == ["docker.io/library/lost:1"]
    assert check(own, repair=True)[0][0]["Mended"] == "forgotten"
    assert_sound(own)


def test_containers_and_volumes_that_lost_what_they_stand_on_are_told(own: Daemon) -> None:
    own.json("POST", "/containers/create?name=user", {"Image": "sound:1", "Cmd": ["x"]})
    own.json("POST", "/volumes/create", {"Name": "data"})
    (own.data_root / "containers" / own.json("GET", "/containers/user/json")["Id"] / "snapshot").unlink()
    own.restart()
    shutil.rmtree(own.data_root / "volumes/data/_data")
    problems = {problem["Kind"]: problem["Message"] for problem in check(own)[0]}
    assert problems["volume"] == "its directory is missing"
    assert "has no file system" in problems["container"]


@pytest.mark.docker
def test_a_layer_that_a_running_container_reads_waits_for_its_end(own: Daemon, image_archive: Path) -> None:
    own.load(image_archive)
    own.cli("docker", "run", "-d", "--name", "runs", "busybox", "sleep", "1000")
    _flip(layer_of(own, "etc/group") / "etc/group")
    (problem,) = check(own, repair=True)[0]
    assert problem["Mended"] == ""
    assert "is using it: stop that, and repair then" in problem["Remedy"]
    own.cli("docker", "rm", "-f", "runs")
    assert [problem["Mended"] for problem in check(own, repair=True)[0]] == ["unpacked again from its blob"]
    assert own.cli("docker", "run", "--rm", "busybox", "head", "-n1", "/etc/group").stdout.startswith("root")
    assert_sound(own)


def test_a_check_sees_no_damage_in_what_comes_and_goes_meanwhile(own: Daemon, tmp_path: Path) -> None:
    found: list[Json] = []
    over = threading.Event()

    def checks() -> None:
        while not over.is_set():
            found.extend(check(own, repair=True)[0])

    checking = threading.Thread(target=checks)
    checking.start()
    try:
        for number in range(15):
            load(own, tmp_path, Image([BASE, tree({f"f{number}": b"x" * 200_000})], [f"passing:{number}"]))
            if number % 3:
                own.cli("orlop", "rmi", f"passing:{number}")
    finally:
        over.set()
        checking.join()
    assert found == []
    assert_sound(own)


async def test_one_check_runs_at_a_time(tmp_path: Path) -> None:
    lab = await Lab.open(tmp_path)
    try:
        await lab.load(docker_archive(IMAGE))
        lab.engine.checking = asyncio.Lock()
        first = engine_check(lab.engine)
        assert "Progress" in await anext(first)
        with pytest.raises(Conflict, match="the store is being checked already"):
            await anext(engine_check(lab.engine))
        await first.aclose()
        assert "Progress" in await anext(engine_check(lab.engine))
    finally:
        await lab.close()
