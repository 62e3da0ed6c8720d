"""Git references: what is one, and what it says of branch, directory and commit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.formats.git_reference import GitReference, parse


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("https://example.com/foo.git", GitReference("https://example.com/foo.git")),
        ("https://example.com/foo.git#v1", GitReference("https://example.com/foo.git", "v1")),
        ("https://example.com/foo.git#release/1.2", GitReference("https://example.com/foo.git", "release/1.2")),
        ("https://example.com/foo.git#a/b:c/d", GitReference("https://example.com/foo.git", "a/b", "c/d")),
        ("https://example.com/foo.git#:docs", GitReference("https://example.com/foo.git", "", "docs")),
        ("https://example.com/foo.git#x:../../etc/", GitReference("https://example.com/foo.git", "x", "etc")),
        ("http://user:word@example.com/foo.git", GitReference("http://user:word@example.com/foo.git")),
        ("git://example.com/foo", GitReference("git://example.com/foo")),
        ("ssh://git@example.com:22/foo#x", GitReference("ssh://git@example.com:22/foo", "x")),
        ("git@example.com:a/foo", GitReference("git@example.com:a/foo")),
        ("git@example.com:a/foo.git#main:sub", GitReference("git@example.com:a/foo.git", "main", "sub")),
        ("git@example.com:foo.git?branch=b", GitReference("git@example.com:foo.git", "refs/heads/b")),
        ("https://e.com/f.git?ref=v1&subdir=/d", GitReference("https://e.com/f.git", "v1", "d")),
        ("https://e.com/f.git?tag=v1", GitReference("https://e.com/f.git", "refs/tags/v1")),
        ("https://e.com/f.git?tag=refs/tags/v1", GitReference("https://e.com/f.git", "refs/tags/v1")),
        ("https://e.com/f.git?commit=abc#main", GitReference("https://e.com/f.git", "main", checksum="abc")),
        (
            "https://e.com/f.git?keep-git-dir=1&submodules=false",
            GitReference("https://e.com/f.git", keep_git_dir=True, submodules=False),
        ),
        ("https://e.com/f.git?keep-git-dir", GitReference("https://e.com/f.git", keep_git_dir=True)),
    ],
)
def test_a_repository_is_named_by_url_or_scp_path_with_fragment_and_query(text: str, reference: GitReference) -> None:
    assert parse(text) == reference


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/",
        "https://example.com/foo",
        "https://example.com/foo.git/",
        "https://example.com/foo.git.bar",
        "http://github.com/docker/docker.git:#branch",
        "file:///srv/foo.git",
        "ftp://example.com/foo.git",
        "example.com/foo/bar.git",
        "github.com/moby/buildkit",
        "./.git",
        ".git",
        "src/app.py",
        "https://[::1/foo.git",
    ],
)
def test_other_urls_and_paths_are_no_repositories(text: str) -> None:
    assert parse(text) is None


def test_a_bare_github_path_is_a_repository_only_as_a_context() -> None:
    assert parse("github.com/moby/moby#v1:x", context=True) == GitReference("https://github.com/moby/moby", "v1", "x")
    assert parse("github.com/moby/moby.git", context=True) == GitReference("https://github.com/moby/moby.git")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("ref=a#b", 'ref conflicts: "b" vs "a"'),
        ("tag=a&branch=b", "branch conflicts with tag"),
        ("subdir=a#:b", 'subdir conflicts: "b" vs "a"'),
        ("ref=", 'query "ref" has no value'),
        ("ref=a&ref=b", 'query "ref" has multiple values'),
        ("depth=1", 'unexpected query "depth"'),
        ("submodules=maybe", 'invalid submodules value: "maybe"'),
    ],
)
def test_a_query_that_contradicts_or_is_unknown_is_refused(query: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^{message}$"):
        parse(f"https://e.com/f.git?{query}")


@given(st.text() | st.text("git@:/?#&=.htps[]%", max_size=30).map("https://e.git".__add__))
def test_any_text_is_a_reference_or_none_or_refused_by_name(text: str) -> None:
    try:
        parse(text, context=True)
    except InvalidArgument:
        pass
