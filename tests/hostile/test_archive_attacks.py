"""Archives that attack: nothing is ever written, changed or read outside the layer, and memory and time are bounded."""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.formats.tar.reader import TarReader
from orlop.image.unpack import Limits, NeedsParents, unpack
from orlop.linux.tree import remove_tree
from support import archives
from support.archives import Image, Lab, Member, layer, member

pytestmark = pytest.mark.root

SYM, LNK, CHR, FIFO = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE
UP = "../" * 12


class Ground:
    """A directory with a victim in it, beside which layers are unpacked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.victim = path / "victim"
        (self.victim / "inside").mkdir(parents=True)
        (self.victim / "secret").write_bytes(b"secret")
        (self.victim / "inside/file").write_bytes(b"file")
        self.before = self.look()
        self.count = 0

    def look(self) -> list[tuple[object, ...]]:
        """Return all that could be changed outside of a layer."""
        found: list[tuple[object, ...]] = []
        for path in sorted([self.victim, *self.victim.rglob("*")]):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else None
            found.append(
                (
                    path,
                    status.st_mode,
                    status.st_uid,
                    status.st_nlink,
                    status.st_mtime_ns,
                    content,
                    tuple(os.listxattr(path)),
                )
            )
        return found

    def unpack(self, data: bytes, limits: Limits | None = None) -> Path:
        """Unpack a layer; raises what that raises, and fails if anything outside was touched."""
        self.count += 1
        root = self.path / f"root{self.count}"
        root.mkdir()
        pieces = iter([data, b""])
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            unpack(TarReader(lambda: next(pieces)), fd, limits=limits)
        finally:
            os.close(fd)
            assert self.look() == self.before
            assert {path.name for path in self.path.iterdir()} - {"victim"} <= {
                f"root{n}" for n in range(self.count + 1)
            }
        return root


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    yield Ground(tmp_path)
    for path in tmp_path.glob("root*"):
        remove_tree(path)


@pytest.mark.parametrize(
    "attack",
    [
        [member("../victim/secret", b"evil")],
        [member(UP + "evil", b"evil")],
        [member("a/../../victim/secret", b"evil")],
        [member("../victim/", mode=0o777)],
        [member("d/"), member("d/../../victim/new", b"evil")],
        [member("../victim/.wh.secret", b"")],
        [member("../victim/inside/.wh..wh..opq", b"")],
        [member("d/.wh...", b"")],
        [member("d/.wh..", b"")],
        [member(".wh.", b"")],
        [member("l", kind=LNK, linkname="../victim/secret")],
        [member("x", b"", kind=b"Q")],
        [member("./", kind=SYM, linkname="/etc")],
        [member("f", b"x"), member("f/below", b"x")],
        [member("n" * 300, b"x")],
        [member("/".join(["n" * 200] * 30), b"x")],
        [member("a", kind=SYM, linkname="b"), member("b", kind=SYM, linkname="a"), member("a/x", b"")],
        [member("d/"), member("l", kind=LNK, linkname="d")],
        [member("s", kind=SYM, linkname="")],
        [member("s", kind=SYM, linkname="x" * 5000)],
        [member("c", kind=CHR, devmajor=1 << 20)],
        [member("f", b"x", uid=(1 << 32) - 1)],
    ],
    ids=lambda attack: "+".join(item.name[:24] for item in attack),
)
def test_what_leads_out_or_makes_no_sense_is_refused(ground: Ground, attack: list[Member]) -> None:
    with pytest.raises(InvalidArgument):
        ground.unpack(layer(*attack))


@pytest.mark.parametrize(
    "escape", ["{victim}", UP + "{relative}", "../victim", "/proc/self/root{victim}", "/proc/self/cwd"]
)
@pytest.mark.parametrize(
    "then",
    [
        [member("link/secret", b"evil")],
        [member("link/new", b"evil")],
        [member("link/inside/", mode=0o777)],
        [member("link/.wh.secret", b"")],
        [member("link/inside/.wh..wh..opq", b"")],
        [member("hard", kind=LNK, linkname="link/secret")],
        [member("link/hard", kind=LNK, linkname="own"), member("own", b"")],
        [member("link/fifo", kind=FIFO)],
        [member("link/symlink", kind=SYM, linkname="x")],
        [member("deep", kind=SYM, linkname="link/inside"), member("deep/file", b"evil")],
    ],
    ids=lambda then: then[-1].name,
)
def test_links_as_parents_never_lead_out(ground: Ground, escape: str, then: list[Member]) -> None:
    target = escape.format(victim=ground.victim, relative=str(ground.victim).lstrip("/"))
    try:
        ground.unpack(layer(member("link", kind=SYM, linkname=target), *then))
    except (InvalidArgument, NeedsParents):
        pass  # or it was made inside the layer


def test_a_directory_that_becomes_a_link_gives_its_attributes_to_nobody(ground: Ground) -> None:
    outside = str(ground.victim)
    ground.unpack(
        layer(
            member("d/", mode=0o777, uid=1, pax_headers={"SCHILY.xattr.user.x": "y"}),
            member("d/f", b"x"),
            member("d", kind=SYM, linkname=outside),
            member("real/"),
            member("alias", kind=SYM, linkname="real"),
            member("alias/e/", mode=0o777, uid=1),
            member("real/e", kind=SYM, linkname=outside),
        )
    )


def test_absolute_names_are_taken_as_of_the_layer(ground: Ground) -> None:
    root = ground.unpack(layer(member(str(ground.victim / "secret"), b"mine"), member("/../../x", b"x")))
    assert (root / str(ground.victim).lstrip("/") / "secret").read_bytes() == b"mine"
    assert (root / "x").read_bytes() == b"x"


def test_existing_files_are_replaced_and_never_written_through(ground: Ground) -> None:
    root = ground.unpack(
        layer(
            member("s", kind=SYM, linkname=str(ground.victim / "secret")),
            member("s", b"mine"),
            member("a", b"1"),
            member("b", kind=LNK, linkname="a"),
            member("a", b"22"),
        )
    )
    assert (root / "s").read_bytes() == b"mine"
    assert (root / "b").read_bytes() == b"1"


names = st.lists(st.sampled_from(["a", "b", "..", ".", ".wh.a", ".wh..wh..opq", "c"]), min_size=1, max_size=4).map(
    "/".join
)
targets = names | st.sampled_from(["/", "/a", "../../victim", UP + "etc", "b/..", ".", "/proc/self/fd/0"])
hostile = st.builds(
    lambda name, kind, target: member(name, b"x" if kind == tarfile.REGTYPE else None, kind=kind, linkname=target),
    names,
    st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, SYM, LNK, CHR, FIFO]),
    targets,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(hostile, max_size=12))
def test_no_sequence_of_entries_touches_anything_outside(ground: Ground, entries: list[Member]) -> None:
    try:
        ground.unpack(layer(*entries))
    except (InvalidArgument, NeedsParents):
        pass
    remove_tree(ground.path / f"root{ground.count}")


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = await Lab.open(tmp_path)
    yield lab
    await lab.close()


async def test_an_archive_full_of_attacks_leaves_nothing_behind(lab: Lab) -> None:
    good = layer(member("d/"), member("d/f", b"x" * 5000))
    manifest = b'[{"Config":"c","RepoTags":["x:1"],"Layers":["l"]}]'
    for bad in (
        layer(member("../evil", b"x")),
        layer(member("f", b"x")) + b"",
        good[:1500],
        gzip.compress(good)[:-9],
        b"\x28\xb5\x2f\xfd" + b"\xff" * 600,
    ):
        data = archives.archive([("l", bad), ("c", Image([good]).document), ("manifest.json", manifest)])
        with pytest.raises(InvalidArgument):
            await lab.load(data)
    lab.settle()
    assert lab.on_disk() == set()


async def test_a_bomb_is_stopped_at_the_limit(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    head = layer(Member("zeros"))[:512]
    bomb = bytearray(head)
    bomb[124:136] = b"%011o\0" % (4 << 30)
    bomb[148:156] = b"        "
    bomb[148:156] = b"%06o\0 " % sum(bomb)
    with pytest.raises(InvalidArgument, match="more than 1048576 bytes"):
        ground.unpack(bytes(bomb), Limits(size=1 << 20))


async def test_links_among_the_members_lead_to_members_alone(lab: Lab) -> None:
    for target in ("/etc/passwd", "../../etc/passwd", "loop"):
        manifest = b'[{"Config":"loop","Layers":[]}]'
        data = archives.archive([("manifest.json", manifest)], {"loop": target})
        with pytest.raises(InvalidArgument, match="loop: no such file"):
            await lab.load(data)


async def test_devices_and_fifos_among_the_members_are_refused(lab: Lab) -> None:
    for kind in (CHR, FIFO):
        with pytest.raises(InvalidArgument, match=r"manifest\.json is a "):
            await lab.load(layer(member("manifest.json", kind=kind)))


async def test_what_an_image_cannot_have_does_not_come_out_of_its_layers(lab: Lab) -> None:
    """A device 0:0 is a whiteout, whoever wrote it, and no attribute of overlayfs is taken."""
    data = layer(
        member("./"), member("hole", kind=CHR), member("d/", pax_headers={"SCHILY.xattr.trusted.overlay.opaque": "y"})
    )
    await lab.load(archives.docker_archive(Image([data], ["x:1"])))
    assert stat.S_ISCHR((lab.layer("x:1") / "hole").lstat().st_mode)
    assert os.listxattr(lab.layer("x:1") / "d") == []
