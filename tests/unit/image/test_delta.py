"""Which names of an upper directory make a layer, and in which order."""

from __future__ import annotations

import pytest

from orlop.errors import Conflict
from orlop.formats.tar.entry import Kind
from orlop.image.delta import Change, Seen, plan

ROOT = Seen("", Kind.DIRECTORY, Change.SAME, Kind.DIRECTORY)


def file(path: str, change: Change = Change.ADDED, **more: object) -> Seen:
    below = None if change is Change.ADDED else Kind.FILE
    return Seen(path, Kind.FILE, change, below, **more)  # type: ignore[arg-type]


def directory(path: str, change: Change = Change.ADDED, **more: object) -> Seen:
    below = None if change is Change.ADDED else Kind.DIRECTORY
    return Seen(path, Kind.DIRECTORY, change, below, **more)  # type: ignore[arg-type]


def steps(*seen: Seen, mounts: tuple[str, ...] = ()) -> list[str]:
    return [("!" if step.mark else "") + step.path for step in plan([ROOT, *seen], mounts)]


def test_nothing_changed_gives_no_steps() -> None:
    assert steps(directory("etc", Change.SAME), file("etc/passwd", Change.SAME)) == []


def test_what_was_added_or_changed_comes_with_the_directories_that_it_is_in() -> None:
    seen = (
        directory("a", Change.SAME),
        directory("a/b", Change.STIRRED),
        file("a/b/new"),
        file("a/b/old", Change.SAME),
        file("a/changed", Change.CHANGED),
        directory("c", Change.SAME),
        file("c/old", Change.SAME),
    )
    assert steps(*seen) == ["a", "a/b", "a/b/new", "a/changed"]


def test_a_removed_name_is_a_whiteout_only_if_there_is_something_below() -> None:
    gone = Seen("d/gone", Kind.CHAR, Change.CHANGED, Kind.FILE, whiteout=True)
    never = Seen("d/never", Kind.CHAR, Change.ADDED, None, whiteout=True)
    assert steps(directory("d", Change.STIRRED), gone, never) == ["d", "!d/.wh.gone"]
    assert steps(Seen("gone", Kind.CHAR, Change.CHANGED, Kind.FILE, whiteout=True)) == ["!.wh.gone"]


def test_an_opaque_directory_says_so_only_if_it_hides_a_directory() -> None:
    assert steps(directory("d", Change.SAME, opaque=True), file("d/x")) == ["d", "!d/.wh..wh..opq", "d/x"]
    assert steps(directory("d", Change.ADDED, opaque=True), file("d/x")) == ["d", "d/x"]
    over_a_file = Seen("d", Kind.DIRECTORY, Change.CHANGED, Kind.FILE, opaque=True)
    assert steps(over_a_file) == ["d"]


def test_a_directory_of_which_the_time_alone_differs_is_in_the_layer() -> None:
    assert steps(directory("a", Change.SAME), directory("a/b", Change.STIRRED)) == ["a", "a/b"]


def test_a_hard_link_to_a_file_that_was_copied_up_keeps_both_names() -> None:
    old = file("old", Change.SAME, links=2, inode=(1, 7))
    new = file("new", Change.ADDED, links=2, inode=(1, 7))
    assert steps(new, old) == ["new", "old"]
    same = file("same", Change.SAME, links=2, inode=(1, 8))
    twin = file("twin", Change.SAME, links=2, inode=(1, 8))
    assert steps(same, twin) == []


def test_a_socket_is_left_out_and_removes_what_was_below() -> None:
    assert steps(Seen("run.sock", Kind.OTHER)) == []
    assert steps(Seen("was", Kind.OTHER, Change.CHANGED, Kind.FILE)) == ["!.wh.was"]


def test_stubs_of_mount_points_and_what_was_made_for_them_are_left_out() -> None:
    mounts = ("etc/hosts", "data/a/b", "full", "known")
    seen = (
        directory("data"),
        directory("data/a"),
        directory("data/a/b"),
        directory("etc", Change.STIRRED),
        file("etc/hosts", empty=True),
        directory("full"),
        file("full/written"),
        directory("known", Change.STIRRED),
    )
    assert steps(*seen, mounts=mounts) == ["full", "full/written", "known"]


def test_a_mount_point_that_holds_something_is_no_stub() -> None:
    assert steps(file("etc-hosts", empty=False), mounts=("etc-hosts",)) == ["etc-hosts"]
    changed = file("hosts", Change.CHANGED, empty=True)
    assert steps(changed, mounts=("hosts",)) == ["hosts"]


def test_a_parent_with_more_than_a_stub_is_in_the_layer() -> None:
    seen = (directory("data"), directory("data/mine"), directory("data/vol"))
    assert steps(*seen, mounts=("data/vol",)) == ["data", "data/mine"]


def test_the_root_is_in_the_layer_only_if_owner_or_mode_changed() -> None:
    changed = Seen("", Kind.DIRECTORY, Change.CHANGED, Kind.DIRECTORY)
    assert [step.path for step in plan([changed, file("x")])] == ["", "x"]
    assert [step.path for step in plan([changed])] == [""]
    assert steps() == []


def test_a_name_that_would_be_read_as_a_whiteout_is_refused() -> None:
    with pytest.raises(Conflict, match=r"/d/\.wh\.x cannot be in a layer"):
        steps(directory("d"), file("d/.wh.x"))
