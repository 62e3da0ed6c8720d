"""Words of a Dockerfile, expanded within bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.build.dockerfile.expand import Expander, expand, expand_heredoc, expand_words
from orlop.build.dockerfile.usage import mount_fields
from orlop.errors import InvalidArgument

VARIABLES = {"a": "1 2", "b": "x"}


def test_a_word_stays_one_and_words_are_parted() -> None:
    assert expand('$a "$a" \\$b', VARIABLES).text == "1 2 1 2 $b"
    assert expand_words('$a "$a" \\$b', VARIABLES) == ["1", "2", "1 2", "$b"]
    assert expand_heredoc('"$a" \\$b', VARIABLES).text == '"1 2" $b'
    assert expand("`$a$c", VARIABLES, escape="`").text == "$a"


def test_an_expander_gives_the_same() -> None:
    expander = Expander()
    assert expander.word("$b-'$b'", VARIABLES) == expand("$b-'$b'", VARIABLES)
    assert expander.word("plain/word", VARIABLES) == expand("plain/word", VARIABLES)
    assert expander.words("$a", VARIABLES) == ("1", "2")
    assert expander.heredoc("'$b'$c", VARIABLES) == expand_heredoc("'$b'$c", VARIABLES)


def doubled(text: str) -> None:
    expander, value = Expander(), "12345678"
    for _ in range(100):
        value = expander.word(text, {"v": value}).text


@pytest.mark.parametrize("text", ["$v" * 64, "${v//?/$v}", "${v:-$v$v}" * 40, "\\$v" * 64])
def test_what_doubles_is_refused_before_it_is_large(text: str) -> None:
    with pytest.raises(InvalidArgument, match="too large when its variables are expanded"):
        doubled(f"{text}$v$v")


@given(st.text("a$v{}:-+?#%/*\\'\"` ", max_size=30), st.text("ab*", max_size=4), st.sampled_from("\\`"))
def test_any_word_is_expanded_or_refused(text: str, value: str, escape: str) -> None:
    try:
        result = expand(text, {"v": value, "a": ""}, escape=escape)
    except InvalidArgument:
        return
    assert not result.used & result.unset
    assert "".join(result.words).replace(" ", "") == result.text.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("type=cache,target=/a", {"type": "cache", "target": "/a"}),
        ("Type=secret,required", {"type": "secret", "required": ""}),
        ('"target=/a,b",id=x', {"target": "/a,b", "id": "x"}),
        ('a="b"c', {"a": '"b"c'}),
        ('"a', {}),
    ],
)
def test_fields_of_mounts(text: str, fields: dict[str, str]) -> None:
    assert mount_fields(text) == fields
