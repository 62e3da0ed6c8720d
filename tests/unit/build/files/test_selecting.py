"""What COPY takes of a tree, and what the digest of that depends on."""

from __future__ import annotations

from typing import Any

import pytest

from orlop.build.files.select import MissingSource, excluded, picks, selected, walk
from orlop.build.files.trees import Found
from orlop.build.graph import Context, CopyFiles, Url
from orlop.errors import InvalidArgument
from orlop.formats.tar.entry import Kind
from support.memory_tree import MemoryTree

FILES = {
    "a.txt": b"a",
    "b.txt": b"b",
    "d/f": b"f",
    "d/sub/g.md": b"g",
    "d/sub/h.txt": b"h",
    "link": "d",
    "out": "../../etc",
    "loop": "loop",
}


def taken(*paths: str, tree: MemoryTree | None = None, **fields: Any) -> list[str]:
    """Return what is meant: paths as they are written, with what is below directories; ``~`` marks a way to some."""
    tree = tree or MemoryTree(FILES)
    action = CopyFiles(Context(), paths, "/x", **fields)
    found: list[str] = []
    for pick in picks(tree, action):
        found.append(pick.path)
        if pick.found.kind is Kind.DIRECTORY:
            below = walk(tree, pick, excluded(action))
            found += [f"{pick.path}/{item.path}{'~' if item.passed else ''}" for item in below]
    return found


def digest(files: dict[str, Any], *paths: str, owners: bool = True, **fields: Any) -> str:
    return selected(MemoryTree(files, has_owners=owners), CopyFiles(Context(), paths, "/x", **fields)).digest


def test_wildcards_mean_what_they_match_part_by_part() -> None:
    assert taken("*.txt") == ["a.txt", "b.txt"]
    assert taken("d/*/*.md") == ["d/sub/g.md"]
    assert taken("**/*.md") == []  # not as in an ignore file
    assert taken("d/s*") == ["d/sub", "d/sub/g.md", "d/sub/h.txt"]
    assert taken("none*") == []
    with pytest.raises(InvalidArgument, match="syntax error in pattern"):
        taken("a[")


def test_links_that_are_named_are_followed_inside_the_tree() -> None:
    assert taken("link/f", "link") == ["link/f", "link", "link/f", "link/sub", "link/sub/g.md", "link/sub/h.txt"]


@pytest.mark.parametrize("path", ["nope", "nope/x", "a.txt/x", "out", "loop", "lo*", "ou?"])
def test_a_source_that_leads_nowhere_is_missing(path: str) -> None:
    with pytest.raises(MissingSource, match=r'"/.*": not found'):
        taken(path)


def test_exclusions_are_of_what_is_in_directories_and_not_of_named_files() -> None:
    assert taken("d", "a.txt", "*.txt", exclude=("*.txt", "**/g.md")) == [
        *("d", "d/f", "d/sub", "d/sub/h.txt"),
        *("a.txt", "a.txt", "b.txt"),
    ]
    assert taken("d", exclude=("*", "!sub/h.txt")) == ["d", "d/sub~", "d/sub/h.txt"]
    assert taken("d", exclude=("sub",)) == ["d", "d/f"]
    assert taken("", exclude=("*", "!d/f")) == ["", "/d~", "/d/f"]


def test_parents_are_shown_with_what_is_in_them() -> None:
    assert taken("d/sub/h.txt", parents=True) == ["", "/d~", "/d/sub~", "/d/sub/h.txt"]
    assert taken("d/./sub", parents=True) == ["d", "d/sub", "d/sub/g.md", "d/sub/h.txt"]
    assert taken("**/*.md", parents=True) == ["", "/d~", "/d/sub~", "/d/sub/g.md"]
    assert taken("d/*/./*.md", parents=True) == ["d/sub", "d/sub/g.md"]
    assert taken("link", parents=True) == ["", "/link"]
    assert taken("d", parents=True, exclude=("d/sub", "f")) == ["", "/d", "/d/f"]
    assert taken("none*", parents=True) == [""]
    for path in ("nope", "d/./nope", "link/f", "", "d/./", "nope/./*"):
        with pytest.raises(MissingSource):
            taken(path, parents=True)


def test_a_url_has_the_name_that_it_ends_with() -> None:
    tree = MemoryTree()
    tree._found[""] = Found("", Kind.FILE, 0o600, size=1)
    action = CopyFiles(Url("http://h/p/name", "name"), ("",), "/x/")
    assert [pick.name for pick in picks(tree, action)] == ["name"]


def test_a_digest_knows_names_kinds_modes_contents_and_targets() -> None:
    first = digest({"d/f": b"x"}, "d")
    assert digest({"d/f": Found("", Kind.FILE, 0o644, size=1, mtime=7)}, "d") == first  # it holds an x, too
    changes: list[dict[str, Any]] = [
        {"d/f": b"y"},
        {"d/g": b"x"},
        {"d/f": Found("", Kind.FILE, 0o600, size=1)},
        {"d/f": Found("", Kind.FILE, 0o644, size=1, uid=5)},
        {"d/f": Found("", Kind.FILE, 0o644, size=1, capability=b"c")},
        {"d/f": "x"},
        {"d/f": Found("", Kind.FIFO, 0o644)},
        {"d/f": b"x", "d/e": None},
        {"d/f/x": b""},
    ]
    digests = [digest(files, "d") for files in changes]
    assert len({first, *digests}) == len(changes) + 1
    devices = [digest({"d/n": Found("", Kind.CHAR, major=1, minor=minor)}, "d") for minor in (3, 5)]
    assert devices[0] != devices[1]


def test_a_digest_does_not_know_the_copied_directory_itself() -> None:
    first = digest({"d": Found("", Kind.DIRECTORY, 0o755), "d/f": b"x"}, "d")
    assert digest({"d": Found("", Kind.DIRECTORY, 0o700, uid=5), "d/f": b"x"}, "d") == first


def test_owners_count_where_a_tree_has_some() -> None:
    mine, yours = ({"f": Found("", Kind.FILE, size=1, uid=uid)} for uid in (1, 2))
    assert digest(mine, "f") != digest(yours, "f")
    assert digest(mine, "f", owners=False) == digest(yours, "f", owners=False)


def test_the_name_that_a_wildcard_finds_counts() -> None:
    assert digest({"f": b"x", "l1": "f"}, "l*") != digest({"f": b"x", "l2": "f"}, "l*")


def test_only_what_is_taken_is_read() -> None:
    tree = MemoryTree({"d/a": b"1", "d/b": b"2", "e/c": b"3"})
    result = selected(tree, CopyFiles(Context(), ("d",), "/x", exclude=("b",)))
    assert (tree.read, result.hashed) == (1, 1)
    assert [path for path, _ in result.files] == ["d/a"]
