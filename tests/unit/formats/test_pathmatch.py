"""Patterns of file names, as Go has them."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.formats.pathmatch import BadPattern, has_wildcards, match


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("abc", "abc", True),
        ("*", "abc", True),
        ("*c", "abc", True),
        ("a*", "a", True),
        ("a*", "ab/c", False),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", False),
        ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("a*b?c*x", "abxbbxdbxebxczzy", False),
        ("ab[b-d]", "abc", True),
        ("ab[^b-d]", "abc", False),
        ("a[^a][^a]b", "a/☺b", True),
        ("a?b", "a/b", False),
        ("a\\*b", "ab", False),
        ("a\\*b", "a*b", True),
        ("[\\]a]", "]", True),
        ("[x\\-]", "-", True),
        ("*x", "xxx", True),
        ("", "", True),
        ("*", "", True),
        ("?", "", False),
    ],
)
def test_names_match(pattern: str, name: str, matches: bool) -> None:
    assert match(pattern, name) is matches


@pytest.mark.parametrize("pattern", ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\", "[\\"])
def test_wrong_patterns_are_refused(pattern: str) -> None:
    for name in ("", "a", "zzz"):
        with pytest.raises(BadPattern, match="syntax error in pattern"):
            match(pattern, name)


def test_what_is_wrong_behind_a_star_is_seen_where_all_before_it_matches() -> None:
    assert match("a*[", "b") is False
    for name in ("a", "ab"):
        with pytest.raises(BadPattern):
            match("a*[", name)


@given(st.text(alphabet="ab*?", max_size=8), st.text(alphabet="ab", max_size=10))
def test_it_agrees_with_fnmatch_where_both_mean_the_same(pattern: str, name: str) -> None:
    assert match(pattern, name) is fnmatch.fnmatchcase(name, pattern)


@given(st.text(alphabet="a*?[]^-\\/", max_size=12), st.text(alphabet="a-/]", max_size=6))
def test_any_pattern_matches_or_is_refused(pattern: str, name: str) -> None:
    try:
        assert match(pattern, name) in (True, False)
    except BadPattern:
        assert has_wildcards(pattern)


def test_many_stars_take_no_time() -> None:
    assert match("*a" * 50 + "b", "a" * 5000) is False
