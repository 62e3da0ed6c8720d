"""What a .dockerignore leaves out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.formats.ignore import Ignore


@pytest.mark.parametrize(
    ("text", "path", "ignored"),
    [
        ("a", "a", True),
        ("a", "a/b/c", True),
        ("a", "b/a", False),
        ("/a/", "a/b", True),
        ("./a", "a", True),
        ("a/../c", "c", True),
        ("  a  \r", "a", True),
        ("\ufeffa", "a", True),
        ("# a", "# a", False),
        (" # a", "# a", True),
        ("*.log", "x.log", True),
        ("*.log", "d/x.log", False),
        ("**/*.log", "d/e/x.log", True),
        ("**/*.log", "x.log", True),
        ("**/foo", "foo", True),
        ("**/foo", "a/foo/b", True),
        ("**/foo", "afoo", False),
        ("foo/**", "foo/a/b", True),
        ("foo/**", "foo", False),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "ab", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("a.c", "abc", False),
        ("a\\*c", "a*c", True),
        ("*\n!c", "c", False),
        ("*\n!c", "d", True),
        ("*\n!c", "c/d", False),
        ("a\n!a/b/k", "a/b/k", False),
        ("a\n!a/b/k", "a/b/x", True),
        ("!a\na", "a", True),
        ("a\n!a\na/b", "a/b/c", True),
        ("a\n!a\na/b", "a/c", False),
        ("**\n!src/**\nsrc/tmp", "src/main.py", False),
        ("**\n!src/**\nsrc/tmp", "src/tmp/x", True),
        ("b\n!b/?/[^b]\n?", "b/a/c", False),  # the last line did not count for b, which was left out already
        ("a$\n**/b$", "x/b$/c", True),
        ("*", "a\udcff", True),
    ],
)
def test_the_last_line_that_speaks_of_a_file_counts(text: str, path: str, ignored: bool) -> None:
    assert Ignore.parse(text).ignored(path) is ignored


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "syntax error in pattern"),
        ("a*[", "syntax error in pattern"),
        ("a*b" * 100_000, "syntax error in pattern"),
        ("a\n!", 'illegal exclusion pattern: "!"'),
    ],
)
def test_wrong_lines_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message.replace("!", ".")):
        Ignore.parse(text)


@pytest.mark.parametrize(
    ("text", "directory", "prunes"),
    [
        ("a", "a", True),
        ("a", "a/b", True),
        ("a", "b", False),
        ("*\n!c", "d", True),
        ("a\n!a/b/k", "a", False),
        ("a\n!a/b/k", "a/b", False),
        ("a\n!a/b/k", "a/c", True),
        ("a\n!**/k", "a", False),
        ("a\n!a/*/k", "a/x", False),
        ("a\n!b/*", "a", True),
    ],
)
def test_directories_are_entered_only_where_something_can_be_in_the_context(
    text: str, directory: str, prunes: bool
) -> None:
    assert Ignore.parse(text).prunes(directory) is prunes


def test_thousands_of_lines_take_no_time() -> None:
    ignore = Ignore.parse(
        "\n".join([*(f"**/*.x{number}" for number in range(3000)), *(f"d{n}/f" for n in range(9000))])
    )
    assert [path for n in range(2000) if not ignore.ignored(path := f"d{n}/e/f.x{n}")] == []
    assert ignore.ignored("d8999/f/g")


LINES = st.lists(st.text(alphabet="ab/*!?", min_size=1, max_size=6), max_size=5)
PATHS = st.lists(st.sampled_from(("a", "b", "ab")), min_size=1, max_size=4).map("/".join)


@given(LINES, PATHS, PATHS)
def test_nothing_below_what_is_pruned_is_taken(lines: list[str], directory: str, below: str) -> None:
    try:
        ignore = Ignore.parse("\n".join(lines))
    except InvalidArgument:
        return
    if ignore.prunes(directory):
        assert ignore.ignored(f"{directory}/{below}")


@given(LINES)
def test_the_text_of_what_was_parsed_is_parsed_to_the_same(lines: list[str]) -> None:
    try:
        ignore = Ignore.parse("\n".join([*lines, " # a", " ! b"]))
    except InvalidArgument:
        return
    assert str(Ignore.parse(str(ignore))) == str(ignore)
    assert Ignore.parse(str(ignore)).ignored("# a") is ignore.ignored("# a")


@given(LINES, st.lists(PATHS, max_size=8))
def test_what_was_asked_before_changes_nothing(lines: list[str], paths: list[str]) -> None:
    try:
        ignore = Ignore.parse("\n".join(lines))
    except InvalidArgument:
        return
    assert [ignore.ignored(path) for path in paths] == [Ignore.parse("\n".join(lines)).ignored(path) for path in paths]
