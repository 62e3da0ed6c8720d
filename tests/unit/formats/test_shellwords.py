"""Words of Dockerfile instructions: quotes, escapes, variables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.formats.shellwords import split_words, whole_word

VARIABLES = {"PATH": "/bin", "A": "1", "EMPTY": "", "SPACED": "x y"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  a \t b ", ["a", "b"]),
        ("A='x y' B=\"z\"", ["A=x y", "B=z"]),
        ("A=x\\ y", ["A=x y"]),
        ("PATH=$PATH:/opt", ["PATH=/bin:/opt"]),
        ('\'$A\' "$A" \\$A "\\$A"', ["$A", "1", "$A", "$A"]),
        ("${A}b $Ab ${SPACED}", ["1b", "", "x y"]),
        ("${EMPTY:-d} ${EMPTY-d} ${NONE-d} ${A:-d}", ["d", "", "d", "1"]),
        ("${EMPTY:+d} ${EMPTY+d} ${NONE+d} ${A:+d}", ["", "d", "", "d"]),
        ("${NONE:-${A}-'x y'}", ["1-x y"]),
        ('"a\\b" a$ $', ["a\\b", "a$", "$"]),
        ("''", [""]),
    ],
)
def test_words_are_split_and_freed_of_quotes(text: str, words: list[str]) -> None:
    assert split_words(text, VARIABLES) == words


def test_a_whole_word_keeps_its_white_space() -> None:
    assert whole_word("x  $A 'y  z'", VARIABLES) == "x  1 y  z"


@pytest.mark.parametrize("text", ["'a", '"a', "${", "${A", "${A:?x}", "${A:-x", "${-}", "${A:-" * 20])
def test_what_is_cut_off_or_unknown_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        split_words(text, VARIABLES)


@given(st.text(alphabet="aA $${}\\'\":+- \t", max_size=40))
def test_any_text_gives_words_or_is_refused(text: str) -> None:
    try:
        words = split_words(text, VARIABLES)
    except InvalidArgument:
        return
    assert all(isinstance(word, str) for word in words)
