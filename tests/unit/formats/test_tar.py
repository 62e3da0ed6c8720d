"""The tar reader and writer: they agree with GNU tar and with the standard library, and no bytes break them."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orlop.formats.tar import pax, writer
from orlop.formats.tar.entry import Entry, Kind, TarError
from orlop.formats.tar.header import encode_number, number
from orlop.formats.tar.reader import MAX_EXTENSION, TarReader
from orlop.formats.tar.whiteout import removed_name

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.LNKTYPE: Kind.LINK,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.CHRTYPE: Kind.CHAR,
    tarfile.BLKTYPE: Kind.BLOCK,
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.FIFOTYPE: Kind.FIFO,
}


def source(data: bytes, piece: int = 700) -> Callable[[], bytes]:
    stream = io.BytesIO(data)
    return lambda: stream.read(piece)


@dataclass
class Read:
    entry: Entry
    body: bytes


def read(data: bytes, piece: int = 700) -> list[Read]:
    reader = TarReader(source(data, piece))
    return [Read(entry, b"".join(reader.body())) for entry in reader]


def info(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.size, made.mtime, made.mode = kind, size, 1_234_567_890, 0o640
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def written(infos: list[tarfile.TarInfo], format: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, encoding="utf-8", errors="surrogateescape") as tar:
        for item in infos:
            tar.addfile(item, io.BytesIO(bytes(range(256)) * (item.size // 256 + 1)) if item.size else None)
    return out.getvalue()


names = st.text(st.characters(blacklist_characters="\0/", blacklist_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda name: name.strip() not in ("", ".", "..")
)
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
infos = st.builds(
    info,
    name=paths,
    kind=st.sampled_from(sorted(KINDS)),
    uid=st.integers(0, 2_097_151),
    gid=st.integers(0, 2_097_151),
    mode=st.integers(0, 0o7777),
    mtime=st.integers(0, 8_000_000_000),
    devmajor=st.integers(0, 4095),
    devminor=st.integers(0, 255),
)


@given(st.lists(infos, max_size=5), st.sampled_from(FORMATS[1:]), st.integers(1, 2000), st.integers(0, 3000))
def test_it_reads_what_tarfile_writes(items: list[tarfile.TarInfo], format: int, piece: int, size: int) -> None:
    for item in items:
        if item.type in (tarfile.LNKTYPE, tarfile.SYMTYPE):
            item.linkname = "target/" + "x" * (size % 200)
        item.size = size if item.type == tarfile.REGTYPE else 0
    found = read(written(items, format), piece)
    assert [(one.entry.name.rstrip("/"), one.entry.kind) for one in found] == [
        (item.name.rstrip("/"), KINDS[item.type]) for item in items
    ]
    for one, item in zip(found, items, strict=True):
        entry = one.entry
        assert (entry.uid, entry.gid, entry.mode, entry.mtime) == (item.uid, item.gid, item.mode, item.mtime * 10**9)
        assert (entry.linkname, entry.size, len(one.body)) == (item.linkname, item.size, item.size)
        if entry.kind in (Kind.CHAR, Kind.BLOCK):
            assert (entry.major, entry.minor) == (item.devmajor, item.devminor)


entries = st.builds(
    Entry,
    name=st.lists(names, min_size=1, max_size=12).map("/".join),
    kind=st.sampled_from([kind for kind in Kind if kind is not Kind.OTHER]),
    size=st.integers(0, 1 << 40),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 1 << 31),
    gid=st.integers(0, 1 << 31),
    mtime=st.integers(-(10**18), 10**19),
    xattrs=st.dictionaries(st.just("user.") | st.just("user.x"), st.binary(max_size=40)),
)


@given(entries)
def test_what_is_written_reads_back(entry: Entry) -> None:
    if entry.kind in (Kind.LINK, Kind.SYMLINK):
        entry.linkname = entry.name + "/../target"
    if entry.kind is not Kind.FILE:
        entry.size = 0
    reader = TarReader(source(writer.encode(entry) + bytes(512)))
    found = reader.next()
    assert found is not None
    assert found.name.rstrip("/") == entry.name.rstrip("/")
    for field in ("kind", "size", "mode", "uid", "gid", "mtime", "linkname", "xattrs"):
        assert getattr(found, field) == getattr(entry, field), field


@given(entries)
def test_tarfile_reads_what_is_written(entry: Entry) -> None:
    entry.mtime = abs(entry.mtime) // 10**9 * 10**9
    entry.size, entry.xattrs = 0, {}
    if entry.kind in (Kind.LINK, Kind.SYMLINK):
        entry.linkname = "t" * 150
    data = writer.encode(entry) + writer.END
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8") as tar:
        (found,) = tar.getmembers()
    assert found.name == entry.name.rstrip("/")
    assert (KINDS[found.type], found.mode, found.uid, found.gid) == (entry.kind, entry.mode, entry.uid, entry.gid)
    assert (found.mtime, found.linkname) == (entry.mtime // 10**9, entry.linkname)


@given(st.binary(max_size=4000))
def test_any_bytes_give_entries_or_an_error(data: bytes) -> None:
    try:
        read(data)
    except TarError:
        pass


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_archive_gives_entries_or_an_error(data: st.DataObject) -> None:
    archive = bytearray(
        data.draw(
            st.sampled_from(
                [written([info("d/" + "n" * 120, size=900), info("s" * 130)], each) for each in FORMATS[1:]]
            )
        )
    )
    for position in data.draw(st.lists(st.integers(0, len(archive) - 1), max_size=6)):
        block = position // 512 * 512
        archive[position] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()):  # with a checksum that is right, so that it gets further
            archive[block + 148 : block + 156] = b"        "
            archive[block + 148 : block + 156] = b"%06o\0 " % sum(archive[block : block + 512])
    try:
        read(bytes(archive[: data.draw(st.integers(0, len(archive)))]))
    except TarError:
        pass


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(blacklist_characters="=", blacklist_categories=["Cs"]), min_size=1), st.binary()
        )
    )
)
def test_pax_records_read_back(records: list[tuple[str, bytes]]) -> None:
    assert pax.parse(pax.encode(records)) == records


@given(st.binary(max_size=200))
def test_any_bytes_are_pax_records_or_an_error(data: bytes) -> None:
    try:
        pax.parse(data)
    except TarError:
        pass


@given(st.integers(-(1 << 62), 1 << 62))
def test_numbers_read_back_in_octal_and_in_base_256(value: int) -> None:
    assert number(encode_number(value, 12)) == value


@pytest.mark.parametrize("field", [b"12x\0", b"9\0\0\0\0\0\0\0", b"\xff\x00" + bytes(10), b"\x80" + b"\xff" * 11])
def test_fields_that_are_no_numbers_are_refused(field: bytes) -> None:
    with pytest.raises(TarError):
        number(field)


def test_the_padding_of_the_last_file_may_be_missing() -> None:
    data = written([info("f", size=1000)], tarfile.USTAR_FORMAT)
    for length in (1512, 1513, 1535):  # docker's contexts end like this
        assert [one.entry.name for one in read(data[:length])] == ["f"]
    with pytest.raises(TarError, match="unexpected EOF"):
        read(data[:1511])


def test_an_archive_that_is_cut_off_is_an_error_and_one_without_an_end_mark_is_not() -> None:
    data = written([info("f", size=1000)], tarfile.USTAR_FORMAT)
    assert [one.entry.name for one in read(data[:1536])] == ["f"]
    with pytest.raises(TarError, match="unexpected EOF"):
        read(data[:1400])


def test_a_name_that_never_ends_is_refused_before_it_is_read() -> None:
    head = bytearray(written([info("././@LongLink")], tarfile.GNU_FORMAT)[:512])
    head[156:157] = b"L"
    head[124:136] = encode_number(MAX_EXTENSION + 1, 12)
    head[148:156] = b"        "
    head[148:156] = b"%06o\0 " % sum(head)
    with pytest.raises(TarError, match="too large"):
        read(bytes(head))


def test_extensions_without_an_end_are_refused() -> None:
    one = written([info("x", pax_headers={"comment": "y"})], tarfile.PAX_FORMAT)[:1024]
    with pytest.raises(TarError, match="too many"):
        read(one * 100)


def test_a_hard_link_has_no_body_whatever_its_size_says() -> None:
    data = bytearray(written([info("l", tarfile.LNKTYPE, linkname="f"), info("f", size=3)], tarfile.USTAR_FORMAT))
    data[124:136] = encode_number(3, 12)
    data[148:156] = b"        "
    data[148:156] = b"%06o\0 " % sum(data[:512])
    assert [(one.entry.name, one.entry.size) for one in read(bytes(data))] == [("l", 0), ("f", 3)]


def test_a_global_header_holds_for_all_that_follow_until_it_is_taken_back() -> None:
    globals_ = tarfile.TarInfo.create_pax_global_header({"uname": "everyone"})
    data = globals_ + written([info("a"), info("b", pax_headers={"uname": "bob"})], tarfile.PAX_FORMAT)
    assert [one.entry.uname for one in read(data)] == ["everyone", "bob"]


def test_extended_attributes_are_bytes() -> None:
    item = info("f", pax_headers={"SCHILY.xattr.security.capability": "\x01\udcff"})
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        tar.addfile(item)
    # tarfile marks what is no text; GNU tar writes the bytes as they are
    assert set(read(out.getvalue())[0].entry.xattrs) == {"security.capability"}
    entry = Entry("f", xattrs={"security.capability": b"\1\xff\0\n="})
    assert read(writer.encode(entry))[0].entry.xattrs == entry.xattrs


def gnu_tar(directory: Path, *arguments: str) -> bytes:
    if shutil.which("tar") is None:
        pytest.skip("needs GNU tar")
    command = ["tar", "-C", str(directory), "--numeric-owner", "--sort=name", *arguments, "-cf", "-", "."]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--format=gnu", "--sparse"],
        ["--format=pax", "--sparse", "--sparse-version=0.0"],
        ["--format=pax", "--sparse", "--sparse-version=0.1"],
        ["--format=pax", "--sparse", "--sparse-version=1.0"],
    ],
)
def test_sparse_files_of_every_form_are_mapped_as_gnu_tar_means_them(tmp_path: Path, arguments: list[str]) -> None:
    expected = {}
    for name, fragments in {
        "many": [(index << 17, bytes([index + 1]) * 4096) for index in range(40)],
        "end": [(1 << 20, b"z" * 100)],
        "start": [(0, b"a" * 5000)],
        "empty": [],
    }.items():
        path = tmp_path / name
        with path.open("wb") as file:
            for offset, data in fragments:
                file.seek(offset)
                file.write(data)
            file.truncate(6 << 20)
        expected["./" + name] = path.read_bytes()
    found = {}
    for one in read(gnu_tar(tmp_path, *arguments), 10_000):
        if one.entry.kind is Kind.FILE:
            content = bytearray(one.entry.size)
            position = 0
            for offset, length in one.entry.sparse or [(0, one.entry.size)]:
                content[offset : offset + length] = one.body[position : position + length]
                position += length
            assert position == len(one.body)
            found[one.entry.name] = bytes(content)
    assert found == expected


@pytest.mark.parametrize("format", ["v7", "oldgnu", "gnu", "ustar", "pax"])
def test_it_reads_every_format_of_gnu_tar(tmp_path: Path, format: str) -> None:
    name = "n" * 90
    (tmp_path / "d").mkdir(mode=0o751)
    (tmp_path / "d" / name).write_bytes(b"content")
    os.link(tmp_path / "d" / name, tmp_path / "link")
    (tmp_path / "symlink").symlink_to("t" * 90)
    if format != "v7":
        os.mkfifo(tmp_path / "fifo")
    if format in ("oldgnu", "gnu", "pax"):
        (tmp_path / ("long" * 50)).write_bytes(b"x")
        (tmp_path / "longlink").symlink_to("l" * 500)
        (tmp_path / "ünï\udcff").write_bytes(b"")
    for path in tmp_path.rglob("*"):
        os.utime(path, ns=(10**18, 10**18), follow_symlinks=False)
    found = {one.entry.name.rstrip("/"): one for one in read(gnu_tar(tmp_path, f"--format={format}"))}
    assert set(found) - {"."} == {f"./{path.relative_to(tmp_path)}" for path in tmp_path.rglob("*")}
    assert found["./d"].entry.kind is Kind.DIRECTORY
    assert found["./d"].entry.mode == 0o751
    assert {found[key].entry.kind for key in (f"./d/{name}", "./link")} == {Kind.FILE, Kind.LINK}
    assert found["./symlink"].entry.linkname == "t" * 90
    assert all(one.entry.mtime == 10**18 for key, one in found.items() if key != ".")
    if "./longlink" in found:
        assert found["./longlink"].entry.linkname == "l" * 500


@pytest.mark.parametrize(
    ("name", "removed"),
    [
        (".wh.x", "x"),
        ("x", None),
        (".wh..wh..opq", None),
        (".wh..wh.plnk", None),
        (".wh.", ""),
        (".wh..", ""),
        (".wh...", ""),
    ],
)
def test_whiteouts_are_told_by_their_names(name: str, removed: str | None) -> None:
    assert removed_name(name) == removed
