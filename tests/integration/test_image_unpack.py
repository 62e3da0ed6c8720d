"""Unpacking on a real file system: what the archive says is what is there, in overlayfs's form."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orlop.errors import InvalidArgument
from orlop.formats.tar.reader import TarReader
from orlop.image.attributes import IMPLIED_ROOT, OPAQUE_XATTR
from orlop.image.snapshots.overlay import OPTIONS
from orlop.image.unpack import Limits, NeedsParents, Unpacked, unpack
from orlop.linux.mount import detached_overlay
from orlop.linux.tree import remove_tree
from support.archives import layer, member

pytestmark = pytest.mark.root

CHR, BLK, FIFO, SYM, LNK = tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def unpacked(data: bytes, root: Path, limits: Limits | None = None) -> Unpacked:
    root.mkdir(exist_ok=True)
    position = 0

    def read() -> bytes:
        nonlocal position
        position += 1000
        return data[position - 1000 : position]

    with opened(root) as fd:
        return unpack(TarReader(read), fd, limits=limits)


def on_view(data: bytes, lower: Path, tmp: Path) -> Path:
    """Unpack on top of `lower`; return the upper directory."""
    for name in ("upper", "work"):
        (tmp / name).mkdir()
    view = detached_overlay([str(lower)], str(tmp / "upper"), str(tmp / "work"), OPTIONS)
    try:
        pieces = iter([data, b""])
        unpack(TarReader(lambda: next(pieces)), view, on_view=True)
    finally:
        os.close(view)
    return tmp / "upper"


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: Path) -> bool:
    return OPAQUE_XATTR in os.listxattr(path) and os.getxattr(path, OPAQUE_XATTR) == b"y"


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """Return all that a tar can say of a tree."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content: object = None
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(status.st_mode):
            content = str(path.readlink())
        xattrs = (
            () if stat.S_ISLNK(status.st_mode) else tuple((key, os.getxattr(path, key)) for key in os.listxattr(path))
        )
        found[str(path.relative_to(root))] = (
            *(status.st_mode, status.st_uid, status.st_gid, status.st_rdev, status.st_nlink, content),
            None if stat.S_ISDIR(status.st_mode) else status.st_size,
            status.st_mtime_ns,
            tuple(sorted(xattrs)),
        )
    return found


def test_every_kind_of_entry_arrives_with_its_owner_mode_and_times(tmp_path: Path) -> None:
    when = 1_600_000_000
    data = layer(
        member("./", mode=0o711, uid=7, gid=8, mtime=when),
        member("d/", mode=0o2775, uid=1, gid=2, mtime=when),
        member("d/setuid", b"program", mode=0o4755, uid=3, gid=4, mtime=when),
        member("d/fifo", kind=FIFO, mode=0o622, mtime=when),
        member("char", kind=CHR, devmajor=1, devminor=7, mode=0o666, uid=5, mtime=when),
        member("block", kind=BLK, devmajor=4000, devminor=70000, mode=0o660, mtime=when),
        member("link", kind=SYM, linkname="/etc/passwd", uid=9, gid=9, mtime=when),
        member("hard", kind=LNK, linkname="d/setuid"),
    )
    result = unpacked(data, tmp_path / "r")
    root = tmp_path / "r"
    assert result.alone
    assert (root.stat().st_mode & 0o7777, root.stat().st_uid, root.stat().st_gid) == (0o711, 7, 8)
    assert IMPLIED_ROOT not in os.listxattr(root)
    assert (root / "d").stat().st_mode & 0o7777 == 0o2775
    setuid = (root / "d/setuid").stat()
    assert (setuid.st_mode & 0o7777, setuid.st_uid, setuid.st_gid, setuid.st_nlink) == (0o4755, 3, 4, 2)
    assert (root / "hard").samefile(root / "d/setuid")
    assert (root / "char").stat().st_rdev == os.makedev(1, 7)
    assert (root / "char").stat().st_mode & 0o7777 == 0o666
    assert (root / "block").stat().st_rdev == os.makedev(4000, 70000)
    assert stat.S_ISFIFO((root / "d/fifo").stat().st_mode)
    assert (root / "link").lstat().st_uid == 9
    assert {path.lstat().st_mtime for path in [root, *root.rglob("*")]} == {when}
    assert result.size == len(b"program") + len("/etc/passwd")


def test_whiteouts_become_devices_and_opaque_directories(tmp_path: Path) -> None:
    data = layer(
        member("d/"),
        member("d/.wh.gone", b""),
        member("o/"),
        member("o/.wh..wh..opq", b""),
        member(".wh..wh.plnk", b"ignored"),
    )
    unpacked(data, tmp_path / "r")
    assert is_whiteout(tmp_path / "r/d/gone")
    assert is_opaque(tmp_path / "r/o")
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["d", "o"]


@pytest.mark.parametrize("first", [True, False])
def test_a_whiteout_never_means_what_its_own_layer_has(tmp_path: Path, first: bool) -> None:
    whiteouts = [member(".wh.f", b""), member(".wh.d", b"")]
    own = [member("f", b"new"), member("d/"), member("d/x", b"new")]
    unpacked(layer(*(whiteouts + own if first else own + whiteouts)), tmp_path / "r")
    assert (tmp_path / "r/f").read_bytes() == b"new"
    assert (tmp_path / "r/d/x").read_bytes() == b"new"
    assert is_opaque(tmp_path / "r/d")  # what is below it is gone


def test_a_later_entry_replaces_an_earlier_one_of_any_kind(tmp_path: Path) -> None:
    data = layer(
        member("a", kind=SYM, linkname="/etc"),
        member("a", b"file"),
        member("b/"),
        member("b/c", b"x"),
        member("b", b"file"),
        member("c", b"file"),
        member("c/"),
        member("c/x", b"inside"),
        member("d", b"1"),
        member("d", b"22"),
        member("e/", mode=0o700),
        member("e/x", b"kept"),
        member("e/", mode=0o755),
    )
    unpacked(data, tmp_path / "r")
    root = tmp_path / "r"
    assert (root / "a").read_bytes() == (root / "b").read_bytes() == b"file"
    assert (root / "c/x").read_bytes() == b"inside"
    assert (root / "d").read_bytes() == b"22"
    assert (root / "e/x").read_bytes() == b"kept"
    assert (root / "e").stat().st_mode & 0o777 == 0o755


def test_links_in_the_way_are_followed_inside_the_layer_alone(tmp_path: Path) -> None:
    data = layer(
        member("usr/"),
        member("usr/lib/"),
        member("lib", kind=SYM, linkname="/usr/lib"),
        member("up", kind=SYM, linkname="../../../../../../usr"),
        member("lib/x", b"1"),
        member("up/y", b"2"),
    )
    unpacked(data, tmp_path / "r")
    assert (tmp_path / "r/usr/lib/x").read_bytes() == b"1"
    assert (tmp_path / "r/usr/y").read_bytes() == b"2"


def test_attributes_of_overlayfs_and_of_the_hosts_security_are_never_taken(tmp_path: Path) -> None:
    capability = b"\x01\x00\x00\x02\x00\x04\x00\x00" + bytes(12)
    xattrs = {
        "SCHILY.xattr.user.note": "kept",
        "SCHILY.xattr.security.capability": capability.decode(),
        "SCHILY.xattr.trusted.overlay.opaque": "y",
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.trusted.x": "y",
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.security.selinux": "label",
    }
    unpacked(layer(member("f", b"x", pax_headers=xattrs), member("d/", pax_headers=xattrs)), tmp_path / "r")
    assert set(os.listxattr(tmp_path / "r/f")) == {"user.note", "security.capability"}
    assert os.getxattr(tmp_path / "r/f", "security.capability") == capability
    assert "trusted.overlay.opaque" not in os.listxattr(tmp_path / "r/d")


def test_parents_without_an_entry_are_told_of(tmp_path: Path) -> None:
    result = unpacked(layer(member("a/b/c", b"x")), tmp_path / "r")
    assert not result.alone
    assert (tmp_path / "r/a/b").stat().st_mode & 0o777 == 0o755
    assert IMPLIED_ROOT in os.listxattr(tmp_path / "r")


def test_parents_that_come_late_are_no_reason_to_wait(tmp_path: Path) -> None:
    result = unpacked(layer(member("a/b", b"x"), member("a/", mode=0o750)), tmp_path / "r")
    assert result.alone
    assert (tmp_path / "r/a").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize(
    "data",
    [
        layer(member("l", kind=LNK, linkname="below")),
        layer(member("d/"), member("l", kind=LNK, linkname="d/below")),
        layer(member("lib", kind=SYM, linkname="usr/lib"), member("lib/x", b"")),
        layer(member(".wh.f", b""), member("l", kind=LNK, linkname="f")),
    ],
    ids=["link", "link in a directory", "through a link", "whiteout"],
)
def test_what_only_a_layer_below_can_have_needs_it(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(NeedsParents):
        unpacked(data, tmp_path / "r")


def test_on_a_view_parents_keep_their_modes_and_links_lead_to_what_is_below(tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    unpacked(
        layer(
            member("a/", mode=0o700, uid=42),
            member("a/b/", mode=0o711),
            member("a/old", b"old"),
            member("lib", kind=SYM, linkname="a/b"),
            member("gone/"),
            member("gone/deep/"),
            member("gone/deep/x", b"x"),
            member("o/"),
            member("o/below", b"x"),
        ),
        lower,
    )
    upper = on_view(
        layer(
            member("a/b/c", b"new"),
            member("a/link", kind=LNK, linkname="a/old"),
            member("lib/d", b"through the link"),
            member(".wh.gone", b""),
            member("o/own", b"x"),
            member("o/.wh..wh..opq", b""),
            member("o/.wh.own", b""),
        ),
        lower,
        tmp_path,
    )
    assert (upper / "a").stat().st_mode & 0o777 == 0o700
    assert (upper / "a").stat().st_uid == 42
    assert (upper / "a/b").stat().st_mode & 0o777 == 0o711
    assert (upper / "a/link").read_bytes() == b"old"
    assert (upper / "a/link").samefile(upper / "a/old")
    assert (upper / "a/b/d").read_bytes() == b"through the link"
    assert is_whiteout(upper / "gone")
    assert is_whiteout(upper / "o/below")
    assert (upper / "o/own").read_bytes() == b"x"


def test_limits_hold(tmp_path: Path) -> None:
    data = layer(member("a", b"x" * 100), member("b", b"x" * 100))
    for limits in (Limits(entries=1), Limits(size=150)):
        with pytest.raises(InvalidArgument, match="more than"):
            unpacked(data, tmp_path / "r", limits)
    with pytest.raises(InvalidArgument, match="remember"):
        unpacked(layer(*(member(f"{index:0200}/") for index in range(100))), tmp_path / "r", Limits(memory=10_000))


def test_holes_stay_holes(tmp_path: Path) -> None:
    if shutil.which("tar") is None:
        pytest.skip("needs GNU tar")
    source = tmp_path / "s"
    source.mkdir()
    with (source / "f").open("wb") as file:
        for offset in (0, 10 << 20, 20 << 20):
            file.seek(offset)
            file.write(b"data" * 1024)
        file.truncate(30 << 20)
    for version in ("0.0", "0.1", "1.0"):
        arguments = ["--sparse", "--format=pax", f"--sparse-version={version}"]
        data = subprocess.run(["tar", "-C", source, *arguments, "-cf", "-", "."], stdout=subprocess.PIPE, check=True)
        unpacked(data.stdout, tmp_path / version)
        assert (tmp_path / version / "f").read_bytes() == (source / "f").read_bytes()
        assert (tmp_path / version / "f").stat().st_blocks * 512 < 1 << 20


def test_a_tree_of_every_file_type_arrives_as_gnu_tar_unpacks_it(tmp_path: Path) -> None:
    if shutil.which("tar") is None:
        pytest.skip("needs GNU tar")
    source = tmp_path / "source"
    (source / "bin").mkdir(parents=True)
    (source / ("deep/" * 40 + "x")).mkdir(parents=True)
    for number in range(60):
        path = source / f"bin/file{number}{'-long' * (number % 45)}"
        path.write_bytes(os.urandom(number * 97))
        os.chown(path, number, 2_000_000_000 + number)
        path.chmod(0o4000 * (number % 2) + 0o400 + number % 64)
        os.utime(path, ns=(0, number * 10**17 + 123_456_789))
        if number % 10 == 0:
            os.link(path, source / f"link{number}")
            (source / f"symlink{number}").symlink_to("../" * number + "nowhere")
    os.setxattr(source / "bin/file1-long", "user.key", bytes(range(256)))
    os.setxattr(source / "bin", "user.dir", b"\0\n=")
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(source / "disk", stat.S_IFBLK | 0o660, os.makedev(8, 0))
    os.mkfifo(source / "fifo")
    (source / "ünï çödé").write_bytes(b"x")
    (source / os.fsdecode(b"bytes\xff\xfe")).write_bytes(b"x")
    (source / "sticky").mkdir()
    (source / "sticky").chmod(0o1777)
    data = subprocess.run(
        ["tar", "-C", source, "--numeric-owner", "--xattrs", "--format=pax", "-cf", "-", "."],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    (tmp_path / "gnu").mkdir()
    subprocess.run(
        ["tar", "-C", tmp_path / "gnu", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", "-"],
        input=data,
        check=True,
    )
    result = unpacked(data, tmp_path / "ours")
    assert result.alone
    assert snapshot(tmp_path / "ours") == snapshot(tmp_path / "gnu") == snapshot(source)


def test_trees_of_any_depth_and_with_protected_files_are_removed(tmp_path: Path) -> None:
    top = tmp_path / "t"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for index in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        if index % 1000 == 7:
            os.symlink("/etc", "link", dir_fd=below)
        os.close(here)
        here = below
    os.close(here)
    (top / "d/protected").write_bytes(b"x")
    if shutil.which("chattr"):
        subprocess.run(["chattr", "+i", top / "d/protected"], check=True)
        subprocess.run(["chattr", "+a", top / "d"], check=True)
    remove_tree(top)
    assert list(tmp_path.iterdir()) == []
