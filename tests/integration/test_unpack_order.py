"""Files are made side by side, and a layer is still what its entries make of it one after the other."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.formats.tar.reader import TarReader
from orlop.image import unpack as unpacking
from orlop.image.unpack import NeedsParents, unpack
from orlop.linux.filesystem import spread
from support.archives import layer, member

pytestmark = pytest.mark.root

NAMES = st.sampled_from(("a", "b", "l", "a/b", "a/c", "b/c", "l/b", "a/b/c", "a/.wh.b", ".wh.a", "b/.wh..wh..opq"))
TARGETS = st.sampled_from(("a", "b", "a/b", ".", "l", "../b"))
KINDS = st.sampled_from((tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE))
Entry = tuple[str, bytes, str]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(NAMES, KINDS, TARGETS), max_size=14))
def test_side_by_side_gives_what_one_after_the_other_gives(entries: list[Entry]) -> None:
    assert _outcome(entries, side_by_side=True) == _outcome(entries, side_by_side=False)


def test_what_cannot_be_made_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("orlop.image.crew.dress", full)
    with pytest.raises(OSError, match="No space left on device: 'd/f'"):
        _unpack([("d", tarfile.DIRTYPE, ""), ("d/f", tarfile.REGTYPE, "")], tmp_path)


def _outcome(entries: Sequence[Entry], *, side_by_side: bool) -> object:
    root = Path(tempfile.mkdtemp())
    try:
        with pytest.MonkeyPatch.context() as patch:
            if not side_by_side:
                patch.setattr(unpacking, "SMALL", -1)
            result = _unpack(entries, root)
        return result, _tree(root)
    except (InvalidArgument, NeedsParents) as error:
        return type(error)
    finally:
        shutil.rmtree(root)


def _unpack(entries: Sequence[Entry], root: Path) -> object:
    members = []
    for number, (name, kind, target) in enumerate(entries):
        data = b"%d" % number if kind == tarfile.REGTYPE else b""
        linkname = target if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
        members.append(member(name, data, kind=kind, linkname=linkname, mode=0o600 + number, mtime=number))
    pieces = iter([layer(*members), b""])
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return unpack(TarReader(lambda: next(pieces)), fd)
    finally:
        os.close(fd)


def _tree(root: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content: object = status.st_rdev
        if stat.S_ISREG(status.st_mode):
            content = path.read_bytes(), status.st_nlink
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
        }
        time = 0 if stat.S_ISCHR(status.st_mode) else status.st_mtime_ns  # a whiteout's says nothing
        found[str(path.relative_to(root))] = (status.st_mode, time, content, attributes)
    return found


def test_directories_are_spread_where_the_file_system_can_do_it(tmp_path: Path) -> None:
    answer = spread(tmp_path)
    assert spread(tmp_path) is answer
    assert spread("/proc") is False
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer").rmdir()
