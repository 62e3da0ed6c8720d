"""What `system df` says is what du(1) says, and what is removed is off the disk when the answer comes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.archives import Image, docker_archive, tree
from support.daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

SLACK = 256 << 10  # bytes by which the database may grow or shrink between two looks

BASE = tree({f"base/{number}": b"b" * 50_000 for number in range(40)})
TOP = tree({"top/file": b"t" * 3_000_000})
OTHER = tree({"other/file": b"o" * 5_000_000})


def du(path: Path) -> int:
    return int(subprocess.run(["du", "-s", "--block-size=1", path], capture_output=True, check=True).stdout.split()[0])


def load(daemon: Daemon, directory: Path, *images: Image) -> None:
    archive = directory / "images.tar"
    archive.write_bytes(docker_archive(*images))
    daemon.load(archive)


@pytest.fixture
def own(daemon: Callable[..., Daemon], tmp_path: Path, image_archive: Path) -> Daemon:
    """A daemon with images that share a layer, containers, and volumes."""
    instance = daemon()
    instance.load(image_archive)
    load(instance, tmp_path, Image([BASE, TOP], ["one:1"]), Image([BASE, OTHER], ["two:1"]))
    fill = "head -c 700000 /dev/urandom > /data/v; head -c 900000 /dev/urandom > /own; head -c 5000 /dev/zero"
    instance.cli(
        "docker", "run", "--name", "writer", "-v", "named:/data", "-v", "/anonymous", "busybox", "sh", "-c", fill
    )
    instance.cli("docker", "create", "--name", "idle", "busybox")
    return instance


def test_the_parts_add_up_to_what_du_says(own: Daemon) -> None:
    usage = own.json("GET", "/system/df")
    total = du(own.data_root)
    assert abs(usage["DataRoot"]["Total"] - total) <= SLACK
    shown = usage["LayersSize"]
    shown += sum(container["SizeRw"] for container in usage["Containers"])
    shown += sum(volume["UsageData"]["Size"] for volume in usage["Volumes"])
    rest = sum(usage["DataRoot"][part] for part in ("Builds", "Metadata", "Temporary"))
    assert abs(shown + rest - total) <= SLACK
    parts = {name: du(own.data_root / name) for name in ("content", "layers", "containers", "volumes")}
    assert {name: usage["DataRoot"][name.capitalize()] for name in parts} == parts
    assert parts["content"] + parts["layers"] == usage["LayersSize"]


def test_what_images_share_is_counted_once_and_what_is_theirs_alone_comes_back(own: Daemon) -> None:
    images = {image["RepoTags"][0]: image for image in own.json("GET", "/system/df")["Images"]}
    one, two = images["one:1"], images["two:1"]
    assert one["SharedSize"] == two["SharedSize"] > 40 * 50_000
    assert images["busybox:latest"]["SharedSize"] == 0
    assert images["busybox:latest"]["Containers"] == 2
    before = du(own.data_root / "content") + du(own.data_root / "layers")
    own.cli("docker", "rmi", "one:1")
    after = du(own.data_root / "content") + du(own.data_root / "layers")
    assert before - after == one["Size"] - one["SharedSize"] > 3_000_000
    own.cli("docker", "rmi", "two:1")
    assert after - du(own.data_root / "content") - du(own.data_root / "layers") == two["Size"]
    assert du(own.data_root / "tmp") < 20_000


def test_loading_and_removing_leaves_the_disk_as_it_was(own: Daemon, tmp_path: Path) -> None:
    places = [own.data_root / name for name in ("content", "layers", "tmp")]
    before = [du(place) for place in places]
    load(own, tmp_path, Image([OTHER, TOP, tree({"more": b"m" * 4_000_000})], ["three:1"]))
    assert sum(map(du, places)) > sum(before) + 4_000_000
    own.cli("orlop", "rmi", "three:1")
    assert [du(place) for place in places] == before


def test_pruning_says_what_the_disk_got_back(own: Daemon) -> None:
    before = du(own.data_root / "content") + du(own.data_root / "layers")
    answer = own.json("POST", '/images/prune?filters={"dangling":["false"]}')
    after = du(own.data_root / "content") + du(own.data_root / "layers")
    assert answer["SpaceReclaimed"] == before - after
    assert {"Untagged": "one:1"} in answer["ImagesDeleted"]
    sizes = {
        volume["Name"]: volume["UsageData"]["Size"] for volume in own.json("GET", "/system/df?type=volume")["Volumes"]
    }
    own.cli("docker", "rm", "writer")
    assert own.json("POST", '/volumes/prune?filters={"all":["1"]}')["SpaceReclaimed"] == sum(sizes.values())


def test_kinds_can_be_asked_for_alone(own: Daemon) -> None:
    usage = own.json("GET", "/v1.42/system/df?type=volume&type=build-cache")
    assert len(usage["Volumes"]) == 2
    assert (usage["Images"], usage["Containers"], usage["BuildCache"], usage["LayersSize"]) == (None, None, [], 0)
    assert "DataRoot" not in usage
    images: dict[str, Any] = own.json("GET", "/v1.43/system/df?type=image")
    assert len(images["Images"]) == 3
    assert images["LayersSize"] > 0
    assert images["Volumes"] is None
    status, body = own.request("GET", "/system/df?type=colour")
    assert (status, json.loads(body)) == (400, {"message": "unknown object type: colour"})
    assert own.json("GET", "/v1.41/system/df?type=volume")["Images"]


def test_both_commands_show_it_in_dockers_columns(own: Daemon) -> None:
    theirs, ours = (own.cli(program, "system", "df").stdout for program in ("docker", "orlop"))
    assert ours == theirs
    assert ours.splitlines()[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    theirs, ours = (own.cli(program, "system", "df", "-v").stdout for program in ("docker", "orlop"))
    first, last = ours.split("\nData root space usage:\n\n")
    assert first.splitlines() == theirs.splitlines()
    assert [line.split()[0] for line in last.splitlines()] == [
        *("PART", "Content", "Layers", "Containers", "Volumes", "Builds", "Temporary", "Metadata", "Total")
    ]
