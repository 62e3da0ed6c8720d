import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.linux import openat2


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """A root directory with an outside beside it."""
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    fd = os.open(tmp_path / "root", os.O_PATH)
    yield fd
    os.close(fd)


def test_links_and_dots_stay_inside(tmp_path: Path, root: int) -> None:
    (tmp_path / "outside/secret").touch()
    (tmp_path / "root/absolute").symlink_to(tmp_path / "outside")
    (tmp_path / "root/up").symlink_to("../outside")
    for path in ("absolute/secret", "up/secret", "../outside/secret", "/../outside/secret"):
        with pytest.raises(FileNotFoundError):
            openat2.open_in_root(root, path, os.O_RDONLY)


def test_magic_links_are_refused() -> None:
    slash = os.open("/", os.O_PATH)
    with pytest.raises(OSError, match="Too many levels"):
        openat2.open_in_root(slash, "/proc/self/root", os.O_RDONLY)
    os.close(slash)


def test_directories_and_files_are_made_with_all_that_is_missing(tmp_path: Path, root: int) -> None:
    os.close(openat2.make_directory(root, "/a/b/c"))
    os.close(openat2.make_file(root, "x/y"))
    assert (tmp_path / "root/a/b/c").is_dir()
    assert (tmp_path / "root/x/y").is_file()
    os.close(openat2.make_directory(root, "/"))


def test_what_a_dangling_link_names_is_made_inside(tmp_path: Path, root: int) -> None:
    (tmp_path / "root/var").mkdir()
    (tmp_path / "root/var/run").symlink_to("../run")
    (tmp_path / "root/abs").symlink_to("/deep/er")
    (tmp_path / "root/out").symlink_to(tmp_path / "outside/new")
    for path in ("var/run/docker.sock", "abs/file", "out"):
        os.close(openat2.make_file(root, path))
    assert (tmp_path / "root/run/docker.sock").is_file()
    assert (tmp_path / "root/deep/er/file").is_file()
    assert list((tmp_path / "outside").iterdir()) == []


def test_endless_links_and_odd_names_are_errors(tmp_path: Path, root: int) -> None:
    (tmp_path / "root/loop").symlink_to("loop")
    (tmp_path / "root/spiral").symlink_to("spiral/x")
    (tmp_path / "root/link").symlink_to("nowhere")
    with pytest.raises(OSError, match="Too many levels"):
        openat2.make_directory(root, "loop")
    with pytest.raises(OSError, match="Too many levels"):
        openat2.make_directory(root, "spiral/y")
    with pytest.raises(OSError, match="Too many levels"):
        openat2.make_directory(root, "link", resolve=openat2.NO_SYMLINKS)
    with pytest.raises(OSError, match="not a name"):
        openat2.make_directory(root, "missing/..")


def test_only_regular_files_are_opened(tmp_path: Path, root: int) -> None:
    fds = os.open("/proc/self/fd", os.O_PATH)
    os.mkfifo(tmp_path / "root/fifo")
    (tmp_path / "root/file").write_text("text")
    with pytest.raises(OSError, match="not a regular file"):
        openat2.open_regular(root, "fifo", fds)
    fd = openat2.open_regular(root, "file", fds)
    assert os.read(fd, 9) == b"text"
    assert not os.get_inheritable(fd)
    os.close(fd)
    os.close(fds)
