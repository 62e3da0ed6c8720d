import os
from pathlib import Path

import pytest

from orlop.linux.tree import empty_directory, remove_tree


def test_a_tree_deeper_than_a_path_can_be_long_is_removed(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    fd = os.open(tmp_path / "tree", os.O_RDONLY)
    name = "d" * 200
    for _ in range(100):
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_links_are_removed_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("x")
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/out").symlink_to(tmp_path / "kept")
    (tmp_path / "tree/up").symlink_to("..")
    remove_tree(tmp_path / "tree")
    assert sorted(os.listdir(tmp_path)) == ["kept"]
    assert (tmp_path / "kept/file").read_text() == "x"


def test_a_link_instead_of_the_tree_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "tree").symlink_to("kept")
    with pytest.raises(OSError):
        remove_tree(tmp_path / "tree")
    assert (tmp_path / "kept").is_dir()


def test_emptying_keeps_the_directory_itself(tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/file").write_text("x")
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        empty_directory(fd)
        assert os.listdir(fd) == []
    finally:
        os.close(fd)


def test_nothing_to_remove_is_no_error(tmp_path: Path) -> None:
    remove_tree(tmp_path / "missing")
