"""Where copied files come to lie above a base, without any file system."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.build.files.copy import make_directory
from orlop.build.files.owners import owner_of
from orlop.build.files.trees import Found
from orlop.build.graph import Context, CopyFiles, Inline, MakeDirectory
from orlop.errors import Conflict, Error, InvalidArgument
from orlop.formats.tar.entry import Kind
from orlop.formats.tar.whiteout import OPAQUE
from support.archives import Member, layer, member
from support.memory_tree import MemoryTree, copied, layer_of

SYM, LNK, FIFO, CHR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE

BASE: dict[str, Any] = {
    "etc/passwd": b"root:x:0:0::/:\napp:x:1000:1001::/:\n",
    "etc/group": b"app:x:1001:\nwheel:x:10:\n",
    "old": Found("", Kind.DIRECTORY, 0o700, 7, 8),
    "old/f": b"o",
    "old/sub/deep": b"d",
    "link": "/old",
    "bin": "usr/bin",
    "usr/bin/sh": b"sh",
    "shared": Found("", Kind.DIRECTORY, 0o2775, 5, 6),
}
FILES: dict[str, Any] = {"d/f": b"f", "d/e/g": b"g", "a": b"a", "b": b"b"}


def put(*paths: str, to: str, files: dict[str, Any] | None = None, **fields: Any) -> dict[str, str]:
    """Return what a copy puts into its layer: modes, and owners that are not root."""
    source = fields.pop("source", Context())
    members = copied(MemoryTree(BASE), MemoryTree(files or FILES), CopyFiles(source, paths, to, **fields))
    return {name: shown(info) for name, info in members.items()}


def unpacked(*members: Member, to: str = "/", **fields: Any) -> dict[str, str]:
    """Return what an archive that is unpacked puts there."""
    return put("x.tar", to=to, files={"x.tar": layer(*members)}, unpack=True, **fields)


def shown(info: tarfile.TarInfo) -> str:
    owner = f" {info.uid}:{info.gid}" if (info.uid, info.gid) != (0, 0) else ""
    kinds = {SYM: f"-> {info.linkname}", LNK: f"= {info.linkname}", FIFO: "fifo", CHR: "device"}
    return kinds.get(info.type, f"{info.mode:o}") + owner


def test_a_directory_that_is_there_goes_into_the_layer_as_it_is() -> None:
    assert put("a", to="/old/sub/") == {"old": "700 7:8", "old/sub": "755", "old/sub/a": "644"}


def test_directories_that_are_made_have_the_owner_and_an_octal_mode() -> None:
    assert put("a", to="/n/m/", owner="app:wheel", mode="0711") == {
        "n": "711 1000:10",
        "n/m": "711 1000:10",
        "n/m/a": "711 1000:10",
    }
    assert put("a", to="/n/", mode="go-r")["n"] == "755"


def test_a_set_group_id_bit_is_passed_on_with_the_group() -> None:
    assert put("a", to="/shared/x/y/")["shared/x/y"] == "2755 0:6"
    assert put("a", to="/shared/x/", owner="3:4")["shared/x"] == "2755 3:4"
    assert put("d", to="/shared/x")["shared/x/e"] == "755"


def test_directories_on_the_way_to_what_is_meant_keep_their_owner() -> None:
    files = {"old": Found("", Kind.DIRECTORY, 0o750, 1, 2), "old/x": b"x", "old/y": b"y"}
    assert put("old/x", to="/", files=files, parents=True)["old"] == "750 7:8"
    assert put("", to="/", files=files)["old"] == "750 1:2"
    assert put("old/x", to="/new/", files=files, parents=True)["new/old"] == "750 1:2"


def test_a_file_does_not_take_a_directorys_place_nor_the_other_way_round() -> None:
    for path, to, message in (
        ("d", "/old/f", "cannot copy to non-directory: /old/f"),
        ("a", "/old/f/", "mkdir /old/f: not a directory"),
        ("a", "/old/f/x", "mkdir /old/f: not a directory"),
    ):
        with pytest.raises(Conflict, match=message):
            put(path, to=to)
    with pytest.raises(Conflict, match="cannot replace to directory /old/sub with file"):
        put("d", to="/old", files={"d/sub": b"x"})
    with pytest.raises(Conflict, match="cannot copy to non-directory: /link"):
        put("d", to="/", files={"d/link/x": b"x"})


def test_several_files_need_a_directory() -> None:
    files = {"x1": b"", "x2": b""}
    with pytest.raises(InvalidArgument, match="COPY with more than one source file"):
        put("x*", to="/n", files=files)
    assert set(put("x*", to="/old", files=files)) == {"old", "old/x1", "old/x2"}


def test_what_a_layer_cannot_hold_is_refused() -> None:
    with pytest.raises(Conflict, match=r"names that begin with \.wh\."):
        put("d", to="/x", files={"d/.wh.f": b""})


def test_hard_links_stay_such_within_one_source() -> None:
    one = Found("", Kind.FILE, size=1, inode=(1, 2))
    assert put("d", to="/x", files={"d/a": one, "d/b": one})["x/b"] == "= x/a"
    files = {"d/a": one, "e/a": b"another", "f/b": one}
    assert put("d", "e", "f", to="/x/", files=files) == {"x": "755", "x/a": "644", "x/b": "755"}


def test_heredocs_are_as_old_as_the_layer() -> None:
    tree = MemoryTree({"f": b"text"})
    info = copied(MemoryTree(), tree, CopyFiles(Inline((("f", b"text"),)), ("",), "/x/"))["x/f"]
    assert info.mtime > 1_700_000_000


def test_a_working_directory_is_made_through_links() -> None:
    base = MemoryTree(BASE)
    work = MakeDirectory("/link/in/side", "app")
    members = layer_of(base, lambda layout: make_directory(layout, base, work))
    assert {info.name: shown(info) for info in members} == {
        "old": "700 7:8",
        "old/in": "755 1000:1001",
        "old/in/side": "755 1000:1001",
    }


# Archives


def test_an_archive_goes_through_linked_directories_and_replaces_links_that_it_names() -> None:
    assert unpacked(member("bin/tool", b"t"))["usr/bin/tool"] == "644"
    assert unpacked(member("bin/"), member("bin/tool", b"t")) == {"bin": "755", "bin/tool": "644"}
    assert unpacked(member("link", b"x"))["link"] == "644"


def test_owners_and_modes_of_an_archive_are_its_own_but_for_chown() -> None:
    members = (member("x/", mode=0o711, uid=3), member("x/f", b"f", mode=0o4755, uid=4))
    assert unpacked(*members, mode="0600", to="/n/") == {"n": "755", "n/x": "711 3:0", "n/x/f": "4755 4:0"}
    assert unpacked(*members, owner="5:6", to="/n/") == {"n": "755 5:6", "n/x": "711 5:6", "n/x/f": "4755 5:6"}


def test_the_destination_is_the_root_for_all_that_an_archive_names() -> None:
    found = unpacked(
        member("../../up", b""),
        member("/abs", b""),
        member("far", kind=SYM, linkname="/etc"),
        member("far/in", b""),
        member("up", kind=SYM, linkname="../../.."),
        member("up/there", b""),
        to="/n/",
    )
    assert set(found) == {"n", "n/up", "n/abs", "n/far", "n/etc", "n/etc/in", "n/there"}


def test_what_an_archive_names_replaces_what_is_there() -> None:
    assert unpacked(member("old/sub", b"file"))["old/sub"] == "644"
    assert unpacked(member("old/f/"), member("old/f/x", b""))["old/f"] == "755"
    again = unpacked(member("old", b"file"), member("old/"), member("old/new", b""))
    assert again == {"old": "755", f"old/{OPAQUE}": "644", "old/new": "644"}
    twice = unpacked(member("x/"), member("x/y", b""), member("x", b"file"), member("x/"), member("x/z", b""))
    assert twice["x"] == "755"


def test_hard_links_of_an_archive_lead_to_its_files_or_to_the_bases() -> None:
    found = unpacked(member("a", b"x"), member("b", kind=LNK, linkname="./a"), member("s", kind=SYM, linkname="a"))
    assert found["b"] == "= a"
    differing = (member("a", b"x", mode=0o755), member("b", kind=LNK, linkname="a", mode=0o4600, uid=7))
    members = copied(
        MemoryTree(), MemoryTree({"x.tar": layer(*differing)}), CopyFiles(Context(), ("x.tar",), "/", unpack=True)
    )
    assert (members["b"].mode, members["b"].uid) == (0o755, 0)
    assert unpacked(member("s", kind=SYM, linkname="a"), member("t", kind=LNK, linkname="s"))["t"] == "= s"
    assert unpacked(member("h", kind=LNK, linkname="old/f", mode=0o600)) == {
        "old": "700 7:8",
        "old/f": "600",
        "h": "= old/f",
    }
    for linkname in ("missing", "h", "old", "../etc/shadow"):
        with pytest.raises(InvalidArgument, match="invalid hard link"):
            unpacked(member("h", kind=LNK, linkname=linkname))
    with pytest.raises(InvalidArgument, match="invalid hard link"):
        unpacked(member("h/"), member("h/x", b""), member("h", kind=LNK, linkname="h/x"))


def test_what_is_no_archive_is_copied_and_a_damaged_one_is_told() -> None:
    assert put("x.tar", to="/n/", files={"x.tar": b"no archive"}, unpack=True) == {"n": "755", "n/x.tar": "644"}
    whole = layer(member("a", bytes(4096)))
    with pytest.raises(Error, match="unexpected EOF"):
        put("x.tar", to="/n/", files={"x.tar": whole[:1500]}, unpack=True)


NAMES = st.lists(st.sampled_from(["a", "b", "..", ".", "", "old", "link", "bin", ".wh.a"]), max_size=4).map("/".join)


@given(
    st.lists(st.tuples(NAMES, NAMES, st.sampled_from([SYM, LNK, FIFO, tarfile.REGTYPE, tarfile.DIRTYPE])), max_size=9)
)
def test_no_archive_gets_out_of_its_destination(entries: list[tuple[str, str, bytes]]) -> None:
    members = [member(name or "x", b"x", kind=kind, linkname=target) for name, target, kind in entries]
    data = layer(member("first", b"x"), *members)
    try:
        found = copied(
            MemoryTree(BASE), MemoryTree({"x": data}), CopyFiles(Context(), ("x",), "/old/sub/", unpack=True)
        )
    except Error:
        return
    for name, info in found.items():
        assert name in ("old", "old/sub") or name.startswith("old/sub/")
        assert not {"", ".", ".."} & set(name.split("/"))
        assert not info.islnk() or info.linkname.startswith("old/sub/")


def test_holes_of_an_archive_are_filled() -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("GNUSparseFile.0/s")
        body = b"1\n100000\n3\n".ljust(512, b"\0") + b"end"
        info.size = len(body)
        info.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": "s",
            "GNU.sparse.realsize": "200000",
        }
        tar.addfile(info, io.BytesIO(body))
    files = {"x.tar": data.getvalue()}
    members = copied(MemoryTree(), MemoryTree(files), CopyFiles(Context(), ("x.tar",), "/", unpack=True))
    assert members["s"].size == 200000


# Owners


@pytest.mark.parametrize(
    ("text", "owner"),
    [("app", (1000, 1001)), (":wheel", (0, 10)), ("app:wheel", (1000, 10)), ("app:", (1000, 1001)), ("5", (5, 5)),
     ("5:wheel", (5, 10)), ("007", (7, 7)), ("1000", (1000, 1000)), ("root", (0, 0))],
)  # fmt: skip
def test_owners_are_who_the_base_says(text: str, owner: tuple[int, int]) -> None:
    assert owner_of(text, MemoryTree(BASE)) == owner


def test_root_is_known_without_a_file_and_others_are_not() -> None:
    assert owner_of("root:root", MemoryTree()) == (0, 0)
    assert owner_of("root", MemoryTree({"etc/passwd": b"root:x:5:6::/:\n"})) == (5, 6)
    for text in ("app", "0:app", "-1", "4294967296"):
        with pytest.raises(InvalidArgument, match="invalid owner"):
            owner_of(text, MemoryTree({"etc/passwd": None, "etc/group": "group"}))
