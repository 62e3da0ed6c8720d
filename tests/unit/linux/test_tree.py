import os
import subprocess
from pathlib import Path

import pytest

from orlop.linux.tree import Stopped, empty_directory, measure, remove_entry, remove_tree


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


def test_a_removal_that_is_stopped_leaves_the_rest_for_the_next(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / "tree" / name / "deep").mkdir(parents=True)
    answers = iter([False, False, False, True])
    with pytest.raises(Stopped):
        remove_tree(tmp_path / "tree", lambda: next(answers))
    assert 0 < len(os.listdir(tmp_path / "tree")) < 4
    remove_tree(tmp_path / "tree")
    assert os.listdir(tmp_path) == []


def test_an_entry_of_any_kind_is_removed_and_one_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "directory/below").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("directory")
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in ("link", "directory", "file"):
            remove_entry(fd, name)
        with pytest.raises(FileNotFoundError):
            remove_entry(fd, "file")
        assert os.listdir(fd) == []
    finally:
        os.close(fd)


def test_a_tree_is_measured_as_du_measures_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/file").write_bytes(b"x" * 10_000)
    os.link(tree / "sub/file", tree / "again")
    (tree / "link").symlink_to("sub/file")
    with (tree / "holes").open("wb") as file:
        file.truncate(1 << 30)
    size = measure(tree)
    assert size.length == 10_000 + len("sub/file") + (1 << 30)
    told = subprocess.run(["du", "-s", "--block-size=1", tree], capture_output=True, text=True, check=True).stdout
    assert size.allocated == int(told.split()[0])
