"""Layers out of an upper directory: what they hold, and that an image with them shows what the container showed."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import tarfile
import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from orlop.errors import Conflict
from orlop.formats.tar.output import TarOutput
from orlop.image import layer_tar
from orlop.image.pack import Packer
from orlop.image.snapshots.overlay import OPTIONS
from orlop.image.tree_tar import write_tree
from orlop.image.view import merged
from orlop.image.walk import walk
from orlop.linux.mount import detached_overlay
from orlop.model.record import Rootfs
from support import archives, trees
from support.archives import Image, Lab
from support.trees import Operation, operations

pytestmark = pytest.mark.root


class Overlay:
    """A lower tree and an upper directory; `mounted` gives a path at which both are seen and can be changed."""

    def __init__(self, root: Path) -> None:
        self.lower, self.upper, work = root / "lower", root / "upper", root / "work"
        for path in (self.lower, self.upper, work):
            path.mkdir()
        self.rootfs = Rootfs(lower=(str(self.lower),), upper=str(self.upper), work=str(work))

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        fd = detached_overlay(self.rootfs.lower, self.rootfs.upper, self.rootfs.work, OPTIONS)
        try:
            yield Path(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)

    def layer(self, mount_points: Collection[str] = ()) -> bytes:
        pieces: list[bytes] = []
        with layer_tar.opened(self.rootfs, mount_points) as layer:
            layer.write(pieces.append)
        return b"".join(pieces)


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    return Overlay(tmp_path)


def listed(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


def test_names_follow_one_another_in_order_and_repeat_bit_by_bit(overlay: Overlay) -> None:
    (overlay.lower / "etc").mkdir()
    (overlay.lower / "etc/old").write_text("old")
    with overlay.mounted() as root:
        for name in ("etc/b", "etc/a", "z", "m"):
            (root / name).write_text(name)
        (root / "etc/old").unlink()
    assert listed(overlay.layer()) == ["etc", "etc/a", "etc/b", "etc/.wh.old", "m", "z"]
    assert overlay.layer() == overlay.layer()


def test_times_are_whole_seconds_and_capabilities_the_only_attributes(overlay: Overlay) -> None:
    with overlay.mounted() as root:
        file = root / "file"
        file.write_text("x")
        os.setxattr(file, "user.note", b"mine")
        os.setxattr(file, "security.capability", trees.CAPABILITY)
        os.utime(file, ns=(0, 1_700_000_000_123_456_789))
    with tarfile.open(fileobj=io.BytesIO(overlay.layer())) as tar:
        (info,) = tar.getmembers()
    assert info.mtime == 1_700_000_000
    assert list(info.pax_headers) == ["SCHILY.xattr.security.capability"]


def test_a_recursive_chown_to_the_same_owner_changes_nothing(overlay: Overlay) -> None:
    (overlay.lower / "d").mkdir()
    for name in ("d/a", "d/b"):
        (overlay.lower / name).write_text(name)
    with overlay.mounted() as root:
        for name in ("d", "d/a", "d/b"):
            os.chown(root / name, 0, 0)
    assert (overlay.upper / "d/a").exists()
    with layer_tar.opened(overlay.rootfs, ()) as layer:
        assert layer.empty


def test_a_link_to_a_file_of_the_image_brings_that_file_along(overlay: Overlay) -> None:
    (overlay.lower / "one").write_text("content")
    with overlay.mounted() as root:
        os.link(root / "one", root / "two")
    with tarfile.open(fileobj=io.BytesIO(overlay.layer())) as tar:
        assert [(info.name, info.type, info.linkname) for info in tar] == [
            ("one", tarfile.REGTYPE, ""),
            ("two", tarfile.LNKTYPE, "one"),
        ]


def test_stubs_are_found_through_links_of_the_image(overlay: Overlay) -> None:
    (overlay.lower / "run").mkdir()
    (overlay.lower / "var").mkdir()
    (overlay.lower / "var/run").symlink_to("/run")
    with overlay.mounted() as root:
        (root / "run/data").mkdir()
        (root / "run/kept").mkdir()
    assert listed(overlay.layer(["/var/run/data"])) == ["run", "run/kept"]


def test_a_name_that_means_removal_is_refused(overlay: Overlay) -> None:
    with overlay.mounted() as root:
        (root / ".wh.passwd").write_text("")
    with pytest.raises(Conflict, match=r"/\.wh\.passwd cannot be in a layer"):
        overlay.layer()


def test_nothing_is_followed_or_opened_that_is_no_plain_file(overlay: Overlay, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    with overlay.mounted() as root:
        (root / "link").symlink_to(secret)
        os.mkfifo(root / "fifo")
        os.mknod(root / "device", stat.S_IFCHR | 0o600, os.makedev(10, 130))
    data = overlay.layer()
    assert b"of the host" not in data
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert [info.type for info in tar] == [tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.SYMTYPE]


def test_what_is_exchanged_while_it_is_read_never_leads_outside(tmp_path: Path) -> None:
    """A directory that turns into a link to the host, a file into a link, over and over, while the tree is packed."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (outside / "file").write_text("of the host")
    (root / "dir").mkdir(parents=True)
    (root / "dir/file").write_text("inside")
    (root / "trap").symlink_to(outside)
    (root / "trapped").symlink_to(outside / "file")
    (root / "file").write_text("inside")
    over = threading.Event()

    def exchange() -> None:
        while not over.is_set():
            for one, two in (("dir", "trap"), ("file", "trapped")):
                os.rename(root / one, root / "spare")
                os.rename(root / two, root / one)
                os.rename(root / "spare", root / two)

    attacker = threading.Thread(target=exchange)
    attacker.start()
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(300):
            pieces: list[bytes] = []
            output = TarOutput(pieces.append)
            packer = Packer(output)
            for found in walk(fd):
                packer.add(found.path, found.directory, found.name, found.status)
            output.finish()
            assert b"of the host" not in b"".join(pieces)
            listed(b"".join(pieces))
    finally:
        over.set()
        attacker.join()
        os.close(fd)


def test_a_file_that_grows_and_shrinks_while_it_is_read_gives_a_whole_archive(tmp_path: Path) -> None:
    file = tmp_path / "tree/file"
    file.parent.mkdir()
    file.write_bytes(bytes(100_000))
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            os.truncate(file, 10)
            os.truncate(file, 3 << 20)

    changer = threading.Thread(target=change)
    changer.start()
    fd = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(100):
            pieces: list[bytes] = []
            output = TarOutput(pieces.append)
            for found in walk(fd):
                Packer(output).add(found.path, found.directory, found.name, found.status)
            output.finish()
            assert listed(b"".join(pieces)) == ["file"]
            assert len(b"".join(pieces)) % 512 == 0
    finally:
        over.set()
        changer.join()
        os.close(fd)


def test_a_tree_deeper_than_the_descriptors_that_are_held_is_walked(tmp_path: Path) -> None:
    path = tmp_path / "deep"
    for _ in range(120):
        path.mkdir()
        (path / "a").write_text("")
        (path / "z").write_text("")
        path = path / "d"
    fd = os.open(tmp_path / "deep", os.O_RDONLY | os.O_DIRECTORY)
    before = len(os.listdir("/proc/self/fd"))
    held = 0
    try:
        names = []
        for found in walk(fd):
            names.append(found.path)
            held = max(held, len(os.listdir("/proc/self/fd")) - before)
    finally:
        os.close(fd)
    assert len(names) == 120 * 2 + 119
    assert names[-1] == "z"
    assert held < 60


def test_an_upper_directory_of_a_running_container_is_exported_with_what_hides_below_mounts(overlay: Overlay) -> None:
    (overlay.lower / "data").mkdir()
    (overlay.lower / "data/of-the-image").write_text("x")
    (overlay.lower / "proc").mkdir()
    with overlay.mounted() as root:
        (root / "new").write_text("y")
        (root / "data/of-the-image").unlink()
        pieces: list[bytes] = []
        write_tree(overlay.rootfs, 1_700_000_000 * 10**9, pieces.append, lambda: None)
    names = listed(b"".join(pieces))
    assert names[:3] == ["data", "new", "proc"]
    assert sorted(names[3:]) == [
        *(".dockerenv", "dev", "dev/console", "dev/pts", "dev/shm", "etc", "etc/hostname", "etc/hosts"),
        *("etc/mtab", "etc/resolv.conf", "sys"),
    ]


def test_an_export_is_never_complete_when_the_container_went_meanwhile(overlay: Overlay) -> None:
    def gone() -> None:
        raise Conflict("it was removed")

    pieces: list[bytes] = []
    with pytest.raises(Conflict):
        write_tree(overlay.rootfs, 0, pieces.append, gone)
    assert not b"".join(pieces).endswith(bytes(1024))


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(operations(25), operations(25))
def test_an_image_with_the_layer_shows_what_the_container_showed(
    before: list[Operation], after: list[Operation]
) -> None:
    asyncio.run(_compare(before, after))


async def _compare(before: list[Operation], after: list[Operation]) -> None:
    with tempfile.TemporaryDirectory(prefix="orlop-layer-") as directory:
        root = Path(directory)
        overlay = Overlay(root)
        trees.perform(str(overlay.lower), before)
        _whole_seconds(overlay.lower)
        with overlay.mounted() as mounted:
            trees.perform(str(mounted), after)
            wanted = trees.shape(str(mounted))
        base = _packed(str(overlay.lower))
        (root / "lab").mkdir()
        lab = await Lab.open(root / "lab")
        try:
            await lab.load(archives.docker_archive(Image([base, overlay.layer()], ["x:1"])))
            layers = lab.images.layers.directories(lab.images.resolve("x:1"))
            with merged(layers) as view:
                assert trees.shape(f"/proc/self/fd/{view}") == wanted
        finally:
            await lab.close()


def _whole_seconds(root: Path) -> None:
    """Make the tree what an unpacked layer is: times in whole seconds, no sockets."""
    for path in sorted(root.rglob("*"), reverse=True):
        status = path.lstat()
        if stat.S_ISSOCK(status.st_mode):
            path.unlink()
        else:
            os.utime(path, ns=(0, status.st_mtime_ns // 10**9 * 10**9), follow_symlinks=False)
    for path in root.rglob("*"):
        status = path.lstat()
        os.utime(path, ns=(0, status.st_mtime_ns // 10**9 * 10**9), follow_symlinks=False)


def _packed(root: str) -> bytes:
    pieces: list[bytes] = []
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        output = TarOutput(pieces.append)
        packer = Packer(output)
        for found in walk(fd):
            packer.add(found.path, found.directory, found.name, found.status)
        output.finish()
    finally:
        os.close(fd)
    return b"".join(pieces)
