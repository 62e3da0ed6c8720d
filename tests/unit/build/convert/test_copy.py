"""COPY and ADD: sources, destinations, flags."""

from __future__ import annotations

from typing import Any

import pytest

from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.graph import Context, CopyFiles, Files, Git, Inline, Url
from support.converting import copies, graph_of, layers, made_by


def actions(text: str, **request: Any) -> list[CopyFiles]:
    return copies(graph_of(f"FROM a\n{text}", **request))


def action(text: str) -> CopyFiles:
    (found,) = actions(text)
    return found


@pytest.mark.parametrize(
    ("sources", "paths"),
    [
        ("a", ("a",)),
        ("./a/../b/", ("b",)),
        ("/a", ("a",)),
        ("../../a", ("a",)),
        (".", ("",)),
        ("/", ("",)),
        ("a* b?.[ch] c", ("a*", "b?.[ch]", "c")),
    ],
)
def test_sources_are_paths_below_the_root_of_the_context(sources: str, paths: tuple[str, ...]) -> None:
    found = action(f"COPY {sources} /x/")
    assert (found.source, found.paths) == (Context(), paths)


@pytest.mark.parametrize(
    ("directory", "text", "destination"),
    [
        ("/", "x", "/x"),
        ("/", ".", "/"),
        ("/w", ".", "/w/"),
        ("/w", "./", "/w/"),
        ("/w", "x", "/w/x"),
        ("/w", "x/", "/w/x/"),
        ("/w", "../x/.", "/x/"),
        ("/w", "/x", "/x"),
        ("/w", "/x/", "/x/"),
        ("/w", "//x/../y/", "/y/"),
        ("/w", "$D/", "/w/dir/"),
    ],
)
def test_a_destination_starts_at_the_working_directory_and_keeps_its_slash(
    directory: str, text: str, destination: str
) -> None:
    assert action(f"ENV D=dir\nWORKDIR {directory}\nCOPY a {text}").destination == destination


def test_words_and_owner_and_mode_and_checksum_are_expanded() -> None:
    found = action("ENV A=x M=755 U=me\nCOPY --chown=$U:${U} --chmod=$M --exclude=*.$A $A.txt '$A' /$A/")
    assert found == CopyFiles(
        Context(), ("x.txt", "$A"), "/x/", owner="me:me", mode="755", exclude=("*.$A",), instruction="COPY"
    )
    digest = "sha256:" + "ab" * 32
    assert action(f"ENV S={digest}\nADD --checksum=$S https://e.com/f /").source == Url("https://e.com/f", "f", digest)


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("a/b", "a/b"),
        ("./a/./b/../c", "a/./c"),
        ("/./a", "a"),
        ("a/*/./b?", "a/*/./b?"),
        ("a/./b/./c", "a/./b/c"),
    ],
)
def test_the_parents_that_are_made_begin_at_the_pivot(source: str, path: str) -> None:
    found = action(f"COPY --parents {source} /x/")
    assert (found.parents, found.paths) == (True, (path,))


def test_add_unpacks_local_archives_and_nothing_that_it_fetches() -> None:
    found = actions("ADD a.tar https://e.com/b.tar /x/\nADD --unpack=false a.tar /\nADD --unpack https://e.com/b.tar /")
    assert [item.unpack for item in found] == [True, False, False, True]
    assert not action("COPY a.tar /").unpack
    assert {item.instruction for item in found} == {"ADD"}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://e.com/a/b.tgz?x=1#y", "b.tgz"),
        ("http://e.com/a%20b", "a b"),
        ("https://e.com/a/", "a"),
        ("https://e.com/", "__unnamed__"),
        ("https://e.com", "__unnamed__"),
    ],
)
def test_a_url_is_named_by_its_path(url: str, name: str) -> None:
    assert action(f"ADD {url} /x/").source == Url(url, name)


def test_add_takes_repositories() -> None:
    assert action("ADD https://e.com/r.git#main:sub /r").source == Git("https://e.com/r.git", "main", "sub")
    assert action("ADD git@e.com:r.git /r").source == Git("git@e.com:r.git")
    assert action("ADD --keep-git-dir --checksum=abc https://e.com/r.git /r").source == Git(
        "https://e.com/r.git", keep_git_dir=True, checksum="abc"
    )
    assert action("ADD https://e.com/r.git?keep-git-dir=true&submodules=0 /r").source == Git(
        "https://e.com/r.git", keep_git_dir=True, submodules=False
    )


def test_sources_of_one_origin_are_copied_together_and_in_order() -> None:
    found = actions("ADD a b https://e.com/u c /x/")
    assert [item.paths for item in found] == [("a", "b"), ("",), ("c",)]


def test_heredocs_are_files_that_come_last() -> None:
    text = "ENV X=1\nCOPY <<one f <<'two' <<-three /x/\n$X \"q\"\none\n$X\ntwo\n\tt\nthree"
    plain, inline = actions(text)
    assert plain.paths == ("f",)
    assert inline.source == Inline((("one", b'1 "q"\n'), ("two", b"$X\n"), ("three", b"t\n")))
    assert inline.paths == ("",)


def test_a_linked_layer_does_not_depend_on_its_base_unless_modes_are_changed() -> None:
    linked, changed, plain = layers(graph_of("FROM a\nCOPY --link a /\nCOPY --link --chmod=1 a /\nCOPY a /"))
    assert isinstance(linked, Files)
    assert [isinstance(node, Files) and node.link for node in (linked, changed, plain)] == [True, False, False]


@pytest.mark.parametrize("mode", ["0", "755", "07777", "u+x", "a=rX,u+w", "go-rwx", "u=g", "+t", "u+s,g+s"])
def test_a_mode_is_octal_or_symbolic(mode: str) -> None:
    assert action(f"COPY --chmod={mode} a /").mode == mode


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("COPY --chmod=8 a /", "invalid chmod parameter: '8'. it should be octal string and between 0 and 07777"),
        (
            "COPY --chmod=10000 a /",
            "invalid chmod parameter: '10000'. it should be octal string and between 0 and 07777",
        ),
        ("COPY --chmod=rwx a /", "invalid chmod parameter: 'rwx'. it should be octal string and between 0 and 07777"),
        ("COPY https://e.com/a /", "source can't be a URL for COPY"),
        ("COPY https://e.com/a.git /", "source can't be a git ref for COPY"),
        ("ADD --checksum=sha256:00 a /", "checksum requires HTTP(S) or Git sources"),
        (
            "ADD --checksum=sha256:00 https://e.com/a https://e.com/b /",
            "checksum can't be specified for multiple sources",
        ),
        ("ADD --checksum=sha256:00 https://e.com/a /", "invalid checksum digest length"),
        ("ADD --keep-git-dir=false https://e.com/a.git?keep-git-dir=1 /", "inconsistent keep-git-dir configuration"),
        ("ADD --checksum=aa https://e.com/a.git?checksum=bb /", 'checksum mismatch "aa" != "bb"'),
        ("ADD https://e.com/a.git?depth=1 /", 'unexpected query "depth"'),
    ],
)
def test_what_cannot_be_copied_is_refused(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        actions(text)
    assert message in caught.value.message


def test_history_has_the_flags_that_change_the_files() -> None:
    text = "FROM a\nENV A=x\nCOPY --link --chown=1:2 --chmod=644 $A b ./\nADD <<E /e\ne\nE\nCOPY --parents a /"
    assert made_by(graph_of(text))[1:] == [
        "COPY --chown=1:2 --chmod=644 x b ./ # buildkit",
        "ADD <<E /e # buildkit",
        "COPY --parents a / # buildkit",
    ]
