"""The context store: what comes in, what is kept, and what hostile archives can do to it."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orlop.build.files import store as store_module
from orlop.build.files.manifest import Item, Manifest
from orlop.build.files.store import ContextStore, Taken
from orlop.errors import Error, InvalidArgument, NotFound
from orlop.formats.tar.entry import Kind
from orlop.image.scratch import Scratch
from support.archives import Member, layer, member

SYM, LNK, FIFO, CHR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE
MIB = 1 << 20


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    made = Scratch(tmp_path / "tmp")
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path, scratch: Scratch) -> ContextStore:
    return ContextStore(tmp_path / "context", scratch, limit=0)


def reader(data: bytes, piece: int = 65536) -> Callable[[], bytes]:
    stream = io.BytesIO(data)
    return lambda: stream.read(piece)


def take(store: ContextStore, *members: Member) -> Taken:
    return store.take_tar(reader(layer(*members)))


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def content(store: ContextStore, name: str) -> bytes:
    with os.fdopen(store.open(name), "rb") as file:
        return file.read()


def on_disk(tmp_path: Path) -> set[str]:
    found = {path for path in (tmp_path / "context").rglob("*") if path.is_file() and path.name != "boot"}
    return {f"sha256:{path.parent.name}{path.name}" for path in found}


# What comes in


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_a_context_may_be_compressed(store: ContextStore, compress: Callable[[bytes], bytes]) -> None:
    taken = store.take_tar(reader(compress(layer(member("d/f", b"x")))))
    assert [(item.path, item.kind) for item in taken.manifest.items] == [("d", Kind.DIRECTORY), ("d/f", Kind.FILE)]


def test_what_is_known_is_not_written_again(store: ContextStore, tmp_path: Path) -> None:
    large, changed = bytes(3 * MIB), bytes(3 * MIB - 1) + b"x"
    first = take(store, member("a", b"1"), member("b", b"1"), member("big", large))
    assert (first.hashed, first.written, first.bytes) == (3, 2, 3 * MIB + 1)
    inodes = {path: path.stat().st_ino for path in (tmp_path / "context").rglob("*")}
    again = take(store, member("a", b"1"), member("big", large))
    assert (again.hashed, again.written, again.bytes) == (2, 0, 0)
    assert {path: path.stat().st_ino for path in (tmp_path / "context").rglob("*")} == inodes
    other = take(store, member("a", b"2"), member("big", changed))
    assert (other.written, other.bytes) == (2, 3 * MIB + 1)
    assert content(store, digest(changed)) == changed
    assert on_disk(tmp_path) == {digest(data) for data in (b"1", b"2", large, changed)}


def test_hard_links_become_files_and_nodes_stay_what_they_are(store: ContextStore) -> None:
    taken = take(
        store,
        member("a", b"x", mode=0o600, uid=5),
        member("b", kind=LNK, linkname="./a"),
        member("s", kind=SYM, linkname="../../a"),
        member("c", kind=CHR, devmajor=1, devminor=3),
        member("p", kind=FIFO, mode=0o640),
    )
    items = {item.path: item for item in taken.manifest.items}
    assert (items["b"].kind, items["b"].digest, items["b"].mode) == (Kind.FILE, digest(b"x"), 0o600)
    assert (items["s"].target, items["c"].minor, items["p"].mode) == ("../../a", 3, 0o640)


def test_a_sparse_file_is_taken_whole(store: ContextStore) -> None:
    body = b"1\n5\n3\n".ljust(512, b"\0") + b"end"
    info = member("GNUSparseFile.0/s", body)
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "s",
        "GNU.sparse.realsize": "10",
    }
    (item,) = take(store, info).manifest.items
    assert (item.path, content(store, item.digest)) == ("s", b"\0\0\0\0\0end\0\0")


def test_a_directory_with_files_does_not_become_a_file(store: ContextStore) -> None:
    with pytest.raises(InvalidArgument, match="'d', which has files in it, is no directory later on"):
        take(store, member("d/f", b""), member("d", b""))
    assert [item.kind for item in take(store, member("d/"), member("d", b"")).manifest.items] == [Kind.FILE]


NAMES = st.lists(st.sampled_from(["a", "b", "..", ".", "", "ü", "x" * 300]), max_size=4).map("/".join)
KINDS = st.sampled_from([SYM, LNK, FIFO, CHR, tarfile.REGTYPE, tarfile.DIRTYPE])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(NAMES, NAMES, KINDS), max_size=10), st.integers(0, 3000), st.integers(1, 600))
def test_an_archive_is_refused_or_gives_a_manifest_that_is_in_order(
    store: ContextStore, entries: list[tuple[str, str, bytes]], cut: int, piece: int
) -> None:
    data = layer(*(member(name or "x", b"x", kind=kind, linkname=target) for name, target, kind in entries))
    try:
        manifest = store.take_tar(reader(data[: len(data) - cut], piece)).manifest
    except Error:
        return
    assert all(content(store, item.digest) for item in manifest.items if item.kind is Kind.FILE)
    if all(item.target for item in manifest.items if item.kind is Kind.SYMLINK):
        assert Manifest.decode(manifest.encoded).items == manifest.items


def test_a_content_is_verified(store: ContextStore, tmp_path: Path) -> None:
    assert store.put(digest(b"abc"), 3, reader(b"abc"))
    store.put_small(digest(b"d"), b"d")
    for size, data in ((3, b"abd"), (3, b"ab"), (4, b"abc"), (-1, b"")):
        with pytest.raises(InvalidArgument, match="has changed while it was sent"):
            store.put(digest(b"wrong"), size, reader(data))
    with pytest.raises(InvalidArgument):
        store.put_small(digest(b"wrong"), b"abc")
    assert on_disk(tmp_path) == {digest(b"abc"), digest(b"d")}


# What is kept


def test_what_nobody_holds_goes_the_longest_unused_first(
    store: ContextStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_limit", 4)
    first, second, third = (take(store, member("f", data)).manifest for data in (b"111", b"222", b"333"))
    held = store.hold(first)
    assert store.known(digest(b"222"))
    assert {item.digest for item in store.loose()} == {digest(b"222"), digest(b"333")}
    assert store.collect() == 3
    assert on_disk(tmp_path) == {digest(b"111"), digest(b"222")}
    assert store.missing(third) == [digest(b"333")]
    held.release()
    held.release()
    assert len(on_disk(tmp_path)) == 1
    with pytest.raises(NotFound, match="is gone"):
        store.open(digest(b"333"))
    assert store.missing(second) == ([] if digest(b"222") in on_disk(tmp_path) else [digest(b"222")])


def test_what_is_held_before_it_comes_stays(store: ContextStore) -> None:
    manifest = Manifest([Item("f", size=1, digest=digest(b"x"))])
    first, second = store.hold(manifest), store.hold(manifest)
    store.put_small(digest(b"x"), b"x")
    first.release()
    assert (store.collect(), store.drop(manifest.digests), store.missing(manifest)) == (0, 0, [])
    second.release()
    assert store.missing(manifest) == [digest(b"x")]


def test_nothing_goes_while_a_context_comes_in(store: ContextStore) -> None:
    with store.growing():
        manifest = take(store, member("f", b"x")).manifest
        assert (store.collect(), store.drop(manifest.digests), store.missing(manifest)) == (0, 0, [])
    assert store.drop(manifest.digests) > 0


def test_a_store_is_found_again_but_for_what_was_not_whole(
    store: ContextStore, tmp_path: Path, scratch: Scratch
) -> None:
    manifest = take(store, member("f", b"x"), member("g", b"y")).manifest
    place = tmp_path / "context" / digest(b"x")[7:9]
    (place / "half.new-7").write_bytes(b"")
    store.fresh().write_bytes(b"")
    again = ContextStore(tmp_path / "context", scratch)
    assert again.missing(manifest) == []
    assert on_disk(tmp_path) == manifest.digests


def test_what_another_boot_has_left_is_not_trusted(
    store: ContextStore, tmp_path: Path, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = take(store, member("f", b"x")).manifest
    monkeypatch.setattr(store_module, "boot_id", lambda: "another")
    assert ContextStore(tmp_path / "context", scratch).missing(manifest) == [digest(b"x")]
    assert on_disk(tmp_path) == set()


def test_a_part_of_a_context_that_cannot_be_made_leaves_nothing(store: ContextStore, scratch: Scratch) -> None:
    manifest = Manifest([Item("d", Kind.DIRECTORY), Item("d/f", size=1, digest=digest(b"gone"))])
    for path, message in (("d", "is gone"), ("nope", '"/nope": not found')):
        with pytest.raises(NotFound, match=message):
            store.materialize(manifest, path)
    assert scratch.settle(10)
    assert list(scratch.path.iterdir()) == []


# Manifests


NO_PATHS = ("", "/a", "a/", "a//b", ".", "../a", "a/..", "a\\u0000", "\\ud800")
NO_NUMBERS = (("size", "-1"), ("mode", "true"), ("mtime", "1e3"), ("mtime", str(1 << 70)))
LINE = '{"path":%s,"type":"%s","digest":"sha256:' + "1" * 64 + '"%s}'


@pytest.mark.parametrize(
    "line",
    [
        *(LINE % (f'"{path}"', "dir", "") for path in NO_PATHS),
        *(LINE % ('"a"', "file", f',"{name}":{value}') for name, value in NO_NUMBERS),
        LINE % ('"' + "ü" * 3000 + '"', "dir", ""),
        LINE % ("1", "dir", ""),
        LINE % ('"a"', "symlink", ""),
        LINE % ('"a"', "symlink", ',"target":"\\u0000"'),
        LINE % ('"a"', "file", ',"capability":"?"'),
        LINE % ('"a"', "socket", ""),
        LINE % ('"a/b"', "dir", ""),
        LINE % ('"a"', "dir", "") + "\n" + LINE % ('"a"', "file", ""),
        '{"path":"a","type":"file","digest":"sha256:12"}',
        '{"path":"a","type":"file"}',
        "[]",
        "x",
        "[" * 100_000,
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(line: str) -> None:
    with pytest.raises(InvalidArgument, match=r"invalid context"):
        Manifest.decode(line.encode())


@given(st.binary(max_size=200))
def test_bytes_are_a_manifest_or_are_refused(data: bytes) -> None:
    try:
        Manifest.decode(data)
    except InvalidArgument:
        pass


def test_a_manifest_is_sorted_by_the_bytes_of_its_paths() -> None:
    paths = ["b", "a", "a/b", "a.b", "ü", "\udcff"]
    manifest = Manifest(Item(path, Kind.DIRECTORY) for path in paths)
    assert [item.path for item in manifest.items] == ["a", "a.b", "a/b", "b", "ü", "\udcff"]
    assert Manifest.decode(manifest.encoded).id == manifest.id
