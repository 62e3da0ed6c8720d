import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.linux.tree import remove_tree
from orlop.volume import copyup
from orlop.volume.copyup import copy_up

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "image/data/sub").mkdir(parents=True)
    return tmp_path / "image"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


@pytest.fixture
def root(image: Path) -> Iterator[int]:
    fd = os.open(image, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_everything_about_files_is_kept(image: Path, volume: Path, root: int) -> None:
    data = image / "data"
    (data / "program").write_bytes(b"#!")
    os.chown(data / "program", 12, 34)
    (data / "program").chmod(0o6755)
    os.setxattr(data / "program", "user.note", b"x")
    os.utime(data / "program", ns=(1_000_000_000, 2_000_000_001))
    os.link(data / "program", data / "sub/again")
    (data / "link").symlink_to("/etc/passwd")
    os.mkfifo(data / "pipe", 0o640)
    os.mknod(data / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (data / "null").chmod(0o666)
    os.chown(data, 5, 6)
    data.chmod(0o3770)
    assert copy_up(root, "/data", str(volume))
    program = (volume / "program").stat()
    assert (program.st_uid, program.st_gid, stat.S_IMODE(program.st_mode)) == (12, 34, 0o6755)
    assert program.st_mtime_ns == 2_000_000_001
    assert (volume / "sub/again").stat().st_ino == program.st_ino
    assert os.getxattr(volume / "program", "user.note") == b"x"
    assert (volume / "link").readlink() == Path("/etc/passwd")
    assert stat.S_ISFIFO((volume / "pipe").stat().st_mode)
    assert (volume / "null").stat().st_rdev == os.makedev(1, 3)
    assert stat.S_IMODE((volume / "null").stat().st_mode) == 0o666
    top = volume.stat()
    assert (top.st_uid, top.st_gid, stat.S_IMODE(top.st_mode)) == (5, 6, 0o3770)


def test_an_empty_directory_gives_its_owner_and_mode(image: Path, volume: Path, root: int) -> None:
    (image / "empty").mkdir()
    (image / "empty").chmod(0o1777)
    assert copy_up(root, "empty", str(volume))
    assert stat.S_IMODE(volume.stat().st_mode) == 0o1777


def test_a_volume_with_content_is_left_alone(image: Path, volume: Path, root: int) -> None:
    (image / "data/file").write_text("new")
    (volume / "file").write_text("old")
    assert not copy_up(root, "/data", str(volume))
    assert (volume / "file").read_text() == "old"


def test_a_path_that_is_no_directory_gives_nothing(image: Path, volume: Path, root: int) -> None:
    (image / "file").write_text("x")
    for path in ("/missing", "/file", "/file/below"):
        assert not copy_up(root, path, str(volume))
    assert list(volume.iterdir()) == []


def test_links_on_the_way_stay_in_the_image(image: Path, volume: Path, root: int, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("key")
    (image / "out").symlink_to(tmp_path / "secret")
    (image / "up").symlink_to("../../../.." + str(tmp_path / "secret"))
    (image / "in").symlink_to("/data")
    (image / "data/file").write_text("x")
    assert not copy_up(root, "/out", str(volume))
    assert not copy_up(root, "/up", str(volume))
    assert copy_up(root, "/in", str(volume))
    assert sorted(path.name for path in volume.iterdir()) == ["file", "sub"]


def test_holes_stay_holes(image: Path, volume: Path, root: int) -> None:
    with (image / "data/sparse").open("wb") as file:
        file.seek(8 << 20)
        file.write(b"end")
        file.truncate(64 << 20)
    assert copy_up(root, "/data", str(volume))
    copied = (volume / "sparse").stat()
    assert copied.st_size == 64 << 20
    assert copied.st_blocks * 512 < 4 << 20
    with (volume / "sparse").open("rb") as file:
        file.seek(8 << 20)
        assert file.read(3) == b"end"


def test_a_deep_tree_is_no_problem(image: Path, volume: Path, root: int) -> None:
    deep = image / "data"
    for _ in range(1000):
        deep = deep / "d"
        deep.mkdir()
    try:
        assert copy_up(root, "/data", str(volume))
        assert (volume / "/".join(["d"] * 1000)).is_dir()
    finally:
        remove_tree(image / "data")
        remove_tree(volume)


def test_a_failure_leaves_the_volume_empty(
    image: Path, volume: Path, root: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (image / "data/sub/file").write_text("x")
    monkeypatch.setattr(copyup, "_copy_data", fail)
    with pytest.raises(OSError, match="No space left"):
        copy_up(root, "/data", str(volume))
    assert list(volume.iterdir()) == []
