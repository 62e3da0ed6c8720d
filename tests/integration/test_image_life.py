"""What happens to blobs, layers and snapshots between two starts, and what a container has changed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orlop.errors import Conflict
from orlop.image.compare import changes
from orlop.image.snapshots.overlay import OverlaySnapshots
from orlop.linux.openat2 import open_in_root
from support import archives
from support.archives import Image, Lab, layer, member, tree

pytestmark = pytest.mark.root

BASE = layer(
    member("./", mode=0o751, uid=11, gid=12),
    member("etc/"),
    member("etc/passwd", b"root"),
    member("etc/deep/"),
    member("etc/deep/file", b"x"),
    member("old/"),
    member("old/one", b"1"),
    member("old/two", b"2"),
    member("gone", b"x"),
)
TOP = tree({"srv/data": b"12345"})
CONTAINER = "c" * 64


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = await Lab.open(tmp_path)
    yield lab
    await lab.close()


@pytest.fixture
async def snapshots(lab: Lab) -> OverlaySnapshots:
    await lab.load(archives.docker_archive(Image([BASE, layer(member("new", b"n"))], ["x:1"])))
    return OverlaySnapshots(lab.root, lab.images.layers)


async def test_what_no_record_names_is_gone_at_the_next_start(lab: Lab) -> None:
    await lab.load(archives.docker_archive(Image([BASE], ["x:1"])))
    kept = lab.on_disk()
    lab.images.content.put(b"nobody's")
    (lab.root / "layers/sha256-dead").mkdir()
    (lab.root / "layers/sha256-dead/file").write_bytes(b"x")
    (lab.root / "tmp/layer-1").mkdir()
    (lab.root / "tmp/ingest-1").write_bytes(b"half")
    await lab.close()
    again = await Lab.open(lab.root)
    again.settle()
    assert again.on_disk() == kept
    assert (again.layer("x:1") / "etc/passwd").read_bytes() == b"root"
    await again.close()


async def test_names_and_deleted_images_of_containers_outlive_a_restart(lab: Lab) -> None:
    image = Image([BASE], ["x:1", "y:2"])
    await lab.load(archives.docker_archive(image, Image([TOP], ["top:1"])))
    await lab.images.delete(image.id, in_use=True)
    await lab.close()
    again = await Lab.open(lab.root)
    assert [record.id for record in again.images] == [again.images.resolve("top:1").id]
    assert again.images.layers.directories(again.images.get(image.id))
    await again.load(archives.docker_archive(image))  # it comes back as it was
    assert again.images.names(image.id) == ["x:1", "y:2"]
    await again.images.release(set())
    assert again.images.resolve("x:1").id == image.id
    await again.close()


async def test_a_lease_keeps_what_nothing_names_yet_until_it_ends(lab: Lab) -> None:
    lease = lab.images.lease()
    image = Image([BASE], ["x:1"])
    await lab.load(archives.docker_archive(image))
    layer_name = lab.layer("x:1").name
    lease.hold(layer_name)
    lease.hold(image.id)
    await lab.images.delete(image.id)
    assert lab.images.layers.has(layer_name)
    assert lab.images.content.has(lab.images.content.put(image.document))
    lease.release()
    lab.settle()
    assert lab.on_disk() == set()


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from support import archives
from support.archives import Image, Lab, layer, member

async def main():
    lab = await Lab.open(Path(sys.argv[1]))
    await lab.load(archives.docker_archive(Image([layer(member("a", b"1"))], ["first:1"])))
    where = sys.argv[2]
    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)
    if where == "unpacked":
        lab.images.scratch.sync = die
    elif where == "renamed":
        lab.images.content.sync_names = die
    elif where == "forgotten":
        lab.images._collect = die
    else:
        lab.store.write = die
    if where in ("deleting", "forgotten"):
        await lab.images.delete(lab.images.resolve("first:1").id)
    await lab.load(archives.docker_archive(Image([layer(member("b", b"2"))], ["second:1"])))

asyncio.run(main())
"""


def killed(root: Path, where: str) -> None:
    program = KILLED.format(tests=str(Path(__file__).parent.parent))
    ended = subprocess.run([sys.executable, "-c", program, str(root), where], check=False)
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.parametrize("where", ["unpacked", "renamed", "named", "deleting"])
async def test_a_kill_leaves_the_old_state_and_no_rubbish(tmp_path: Path, where: str) -> None:
    killed(tmp_path, where)
    lab = await Lab.open(tmp_path)
    lab.settle()
    record = lab.images.resolve("first:1")
    assert [each.id for each in lab.images] == [record.id]
    assert (lab.layer("first:1") / "a").read_bytes() == b"1"
    assert len(lab.on_disk()) == 3  # configuration, blob and layer of the first
    await lab.close()


async def test_a_kill_while_an_image_is_deleted_frees_the_rest_at_the_next_start(tmp_path: Path) -> None:
    killed(tmp_path, "forgotten")
    lab = await Lab.open(tmp_path)
    lab.settle()
    assert list(lab.images) == []
    assert lab.on_disk() == set()
    await lab.close()


async def test_a_snapshot_has_the_images_root_and_is_made_once(lab: Lab, snapshots: OverlaySnapshots) -> None:
    record = lab.images.resolve("x:1")
    rootfs = snapshots.prepare(CONTAINER, record)
    status = os.stat(rootfs.upper)
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o751, 11, 12)
    (Path(rootfs.upper) / "kept").write_bytes(b"x")
    assert snapshots.prepare(CONTAINER, record) == rootfs
    with snapshots.view(rootfs) as view:
        assert sorted(os.listdir(f"/proc/self/fd/{view}")) == [".dockerenv", "etc", "gone", "kept", "new", "old"]
        with pytest.raises(Conflict), snapshots.claim(CONTAINER):
            pass
    fresh = OverlaySnapshots(lab.root, lab.images.layers)
    assert fresh.describe(CONTAINER)["UpperDir"] == rootfs.upper
    assert fresh.sizes(CONTAINER) == (1, 1 + record.size)
    assert fresh.list() == {CONTAINER}
    fresh.remove(CONTAINER)
    fresh.remove(CONTAINER)
    assert fresh.list() == set()


async def test_changes_are_those_that_docker_diff_shows(lab: Lab, snapshots: OverlaySnapshots) -> None:
    rootfs = snapshots.prepare(CONTAINER, lab.images.resolve("x:1"))
    assert changes(rootfs) == []
    with snapshots.view(rootfs) as view:
        root = Path(f"/proc/self/fd/{view}")
        (root / "etc/deep/file").open("ab").write(b"more")
        (root / "gone").unlink()
        (root / "added").mkdir()
        (root / "added/file").write_bytes(b"x")
        (root / "new").unlink()
        (root / "new").mkdir()
        for name in ("one", "two"):
            (root / "old" / name).unlink()
        (root / "old").rmdir()
        (root / "old").mkdir()
        (root / "old/two").write_bytes(b"again")
        os.mknod(root / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    assert [(item["Path"], item["Kind"]) for item in changes(rootfs)] == [
        ("/added", 1),
        ("/added/file", 1),
        ("/device", 1),
        ("/etc/deep/file", 0),
        ("/gone", 2),
        ("/new", 0),
        ("/old", 0),
        ("/old/one", 2),
        ("/old/two", 0),
    ]
    assert snapshots.size(CONTAINER) == len(b"xmore" + b"x" + b"again")


async def test_what_the_engine_mounts_on_is_nobodys_change(lab: Lab, snapshots: OverlaySnapshots) -> None:
    rootfs = snapshots.prepare(CONTAINER, lab.images.resolve("x:1"))
    with snapshots.view(rootfs) as view:
        etc = Path(f"/proc/self/fd/{view}/etc")
        (etc / "hosts").touch()
        (etc / "resolv.conf").touch()
        assert changes(rootfs) == []
        (etc / "deep/file").open("ab").write(b"more")
        assert [item["Path"] for item in changes(rootfs)] == ["/etc/deep/file"]
        (etc / "added").touch()
        assert [item["Path"] for item in changes(rootfs)] == ["/etc", "/etc/added", "/etc/deep/file"]
        (etc / "added").unlink()
        etc.chmod(0o700)
        assert {"Path": "/etc", "Kind": 0} in changes(rootfs)


async def test_a_layer_with_an_opaque_root_hides_all_below(lab: Lab) -> None:
    cover = layer(member("./"), member(".wh..wh..opq", b""), member("only", b"x"))
    await lab.load(archives.docker_archive(Image([BASE, cover, TOP], ["x:1"])))
    snapshots = OverlaySnapshots(lab.root, lab.images.layers)
    rootfs = snapshots.prepare(CONTAINER, lab.images.resolve("x:1"))
    with snapshots.view(rootfs) as view:
        assert sorted(os.listdir(f"/proc/self/fd/{view}")) == [".dockerenv", "only", "srv"]


async def test_an_image_without_layers_can_be_mounted(lab: Lab) -> None:
    await lab.load(archives.docker_archive(Image([], ["none:1"])))
    snapshots = OverlaySnapshots(lab.root, lab.images.layers)
    with snapshots.view(snapshots.prepare(CONTAINER, lab.images.resolve("none:1"))) as view:
        os.close(open_in_root(view, "f", os.O_CREAT | os.O_WRONLY, 0o600))
    assert (lab.root / "containers" / CONTAINER / "upper/f").exists()
