"""What layers add, change, remove and waste, and what differs between two images."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from orlop.engine.images import anatomy
from orlop.errors import Conflict, InvalidArgument, NotFound
from orlop.image.anatomy import tree as trees
from support.archives import Image, Lab, docker_archive, layer, member, tree
from support.daemon import Daemon

pytestmark = pytest.mark.root

Json = dict[str, Any]

BASE = layer(
    member("./"),
    member("bin/"),
    member("bin/tool", b"t" * 1000, mode=0o755),
    member("bin/other", kind=b"1", linkname="bin/tool"),
    member("doc/"),
    member("doc/a", b"a" * 300),
    member("doc/deep/"),
    member("doc/deep/b", b"b" * 50),
    member("etc/"),
    member("etc/conf", b"c" * 10),
    member("etc/link", kind=b"2", linkname="conf"),
)
CHANGES = layer(
    member("./"),
    member("bin/"),
    member("bin/tool", b"T" * 1200, mode=0o755),
    member(".wh.doc", b""),
    member("etc/"),
    member("etc/conf", b"c" * 10, mode=0o600),
    member("new/"),
    member("new/file", b"n" * 7),
)
OPAQUE = layer(member("./"), member("etc/"), member("etc/.wh..wh..opq", b""), member("etc/conf", b"C" * 20))
LATER = layer(member("./"), member("bin/"), member("bin/tool", b"x"), member("new", b"f"))


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = await Lab.open(tmp_path)
    images = (
        Image([BASE], ["base:1"]),
        Image([BASE, CHANGES, OPAQUE, LATER], ["all:1"]),
        Image([BASE, CHANGES], ["two:1"]),
        Image([LATER, tree({"other": b"o"})], ["else:1"]),
    )
    await lab.load(docker_archive(*images))
    yield lab
    await lab.close()


async def layers(lab: Lab, name: str, **options: Any) -> tuple[list[Json], Json]:
    messages = [message async for message in anatomy.layers(lab.engine, name, **options)]
    return [message["File"] for message in messages[:-1]], messages[-1]["Summary"]


async def diff(lab: Lab, *names: str) -> tuple[dict[str, Json], Json]:
    messages = [message async for message in anatomy.diff(lab.engine, *names)]
    paths = [message["File"]["Path"] for message in messages[:-1]]
    assert paths == sorted(paths)
    return {message["File"]["Path"]: message["File"] for message in messages[:-1]}, messages[-1]["Summary"]


async def test_each_file_is_told_with_what_it_hides(lab: Lab) -> None:
    files, _ = await layers(lab, "all:1")
    told = [(file["Layer"], file["Path"], file["Kind"], file["Size"], file["Hidden"]) for file in files]
    assert [each for each in told if each[0] == 0] == [
        (0, "/bin/other", "added", 1000, 0),  # of two names the first has the bytes
        (0, "/bin/tool", "added", 0, 0),
        (0, "/doc/a", "added", 300, 0),
        (0, "/doc/deep/b", "added", 50, 0),
        (0, "/etc/conf", "added", 10, 0),
        (0, "/etc/link", "added", 4, 0),
    ]
    assert [each[1:] for each in told if each[0] == 1] == [
        ("/bin/tool", "changed", 1200, 0),
        ("/doc", "removed", 0, 350),
        ("/etc/conf", "changed", 10, 10),
        ("/new/file", "added", 7, 0),
    ]
    assert [each[1:] for each in told if each[0] == 2] == [
        ("/etc/link", "removed", 0, 4),
        ("/etc/conf", "changed", 20, 10),
    ]
    assert [each[1:] for each in told if each[0] == 3] == [
        ("/bin/tool", "changed", 1, 1200),
        ("/new", "changed", 1, 7),
    ]
    assert [file["Path"] for file in files if file["Copy"]] == ["/etc/conf"]


async def test_the_sums_say_what_each_layer_wasted(lab: Lab) -> None:
    files, summary = await layers(lab, "all:1", files=False)
    assert files == []
    assert [layer["Wasted"] for layer in summary["Layers"]] == [364, 1217, 0, 0]
    assert [layer["Size"] for layer in summary["Layers"]] == [1364, 1217, 20, 2]
    assert summary["Wasted"] == 364 + 1217
    second = summary["Layers"][1]
    assert second["Added"] == {"Files": 1, "Bytes": 7}
    assert second["Changed"] == {"Files": 2, "Bytes": 1210}
    assert second["Removed"] == {"Files": 2, "Bytes": 350}
    assert second["Copies"] == {"Files": 1, "Bytes": 10}
    assert second["CreatedBy"] == "step 1"


async def test_two_images_differ_in_what_their_merged_trees_show(lab: Lab) -> None:
    files, summary = await diff(lab, "base:1", "two:1")
    kinds = {path: file["Kind"] for path, file in files.items()}
    assert kinds == {
        "/bin/tool": "changed",
        "/doc": "removed",
        "/doc/a": "removed",
        "/doc/deep": "removed",
        "/doc/deep/b": "removed",
        "/etc/conf": "changed",
        "/new": "added",
        "/new/file": "added",
    }
    assert files["/etc/conf"]["Before"] == {"Type": "file", "Mode": "0644", "Uid": 0, "Gid": 0, "Size": 10}
    assert files["/etc/conf"]["After"]["Mode"] == "0600"
    assert files["/doc"]["After"] is None
    assert summary["Added"] == {"Files": 1, "Bytes": 7}
    assert summary["Changed"] == {"Files": 2, "Bytes": 1210}
    assert summary["Removed"] == {"Files": 2, "Bytes": 350}


async def test_the_same_files_in_other_layers_are_no_difference(lab: Lab) -> None:
    again = layer(
        *(member(f"{name}/") for name in (".", "etc")),
        member("etc/conf", b"c" * 10, mtime=1),
        member("etc/link", kind=b"2", linkname="conf", mtime=2),
    )
    await lab.load(docker_archive(Image([BASE, again], ["again:1"])))
    assert (await diff(lab, "base:1", "again:1"))[0] == {}
    assert (await diff(lab, "two:1", "two:1"))[0] == {}
    assert {file["Kind"] for file in (await diff(lab, "two:1", "else:1"))[0].values()} == {
        "added",
        "changed",
        "removed",
    }


async def test_what_is_not_there_or_too_much_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound):
        await layers(lab, "none:1")
    with pytest.raises(InvalidArgument):
        await diff(lab, "base:1", "")
    monkeypatch.setattr(trees, "MAX_ENTRIES", 5)
    with pytest.raises(Conflict, match="more than 5 files"):
        await layers(lab, "base:1")


async def test_an_image_that_is_looked_at_may_be_removed(lab: Lab) -> None:
    looking = anatomy.layers(lab.engine, "all:1")
    await anext(looking)
    await lab.images.delete(lab.images.resolve("all:1").id)
    rest = [message async for message in looking]
    assert rest[-1]["Summary"]["Wasted"] == 1581
    lab.settle()
    assert len(list((lab.root / "layers").iterdir())) == 5  # `empty`, and those of the three others


@pytest.mark.docker
def test_the_command_shows_layers_and_differences(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    own = daemon()
    (tmp_path / "images.tar").write_bytes(docker_archive(Image([BASE], ["base:1"]), Image([BASE, CHANGES], ["two:1"])))
    own.load(tmp_path / "images.tar")
    shown = own.cli("orlop", "image", "inspect", "--layers", "two:1").stdout
    assert shown.splitlines()[1].split() == ["0", "step", "0", "1.36kB", "6", "0", "0", "360B"]
    assert "Total: 2.581kB, of which later layers hide 360B (13%); 10B are copies of what was there before" in shown
    assert "350B      1          removes it   /doc" in shown
    listed = own.cli("orlop", "image", "inspect", "--layers", "--files", "two:1").stdout
    assert "  1  D        0B  /doc\n" in listed
    changes = own.cli("orlop", "image", "diff", "base:1", "two:1").stdout
    assert "C  -0644 > -0600                  10B  /etc/conf\n" in changes
    assert changes.endswith("Files: 1 added (7B), 2 changed (1.21kB), 2 removed (350B)\n")
    lines = own.cli("orlop", "image", "diff", "--format", "json", "base:1", "two:1").stdout.splitlines()
    assert json.loads(lines[-1])["Summary"]["Removed"]["Files"] == 2
    failed = own.cli("orlop", "image", "diff", "base:1", "none", check=False)
    assert (failed.returncode, failed.stderr) == (1, "Error response from daemon: No such image: none:latest\n")
