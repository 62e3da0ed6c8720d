"""Words of Dockerfile instructions: quotes, escapes, variables."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.formats.glob import Glob
from orlop.formats.shellwords import expanded, split_words, whole_word

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
        ('${A}b $Ab ${SPACED} "${SPACED}"', ["1b", "x", "y", "x y"]),
        ("a${SPACED}b c\\ d", ["ax", "yb", "c d"]),
        ("${EMPTY:-d} ${EMPTY-d} ${NONE-d} ${A:-d}", ["d", "d", "1"]),
        ("${EMPTY:+d} ${EMPTY+d} ${NONE+d} ${A:+d}", ["d", "d"]),
        ("${NONE:-${A}-x}", ["1-x"]),
        ('"a\\b" a$ $', ["a\\b", "a$", "$"]),
        ("'' \"\"", []),
    ],
)
def test_words_are_split_and_freed_of_quotes(text: str, words: list[str]) -> None:
    assert split_words(text, VARIABLES) == words


def test_a_whole_word_keeps_its_white_space() -> None:
    assert whole_word("x  $A 'y  z'", VARIABLES) == "x  1 y  z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${FILE#*/}", "src/a.tar.gz"),
        ("${FILE##*/}", "a.tar.gz"),
        ("${FILE%.*}", "./src/a.tar"),
        ("${FILE%%.t*}", "./src/a"),
        ("${FILE%none}", "./src/a.tar.gz"),
        ("${FILE#?/}", "src/a.tar.gz"),
        ("${FILE/a/b}", "./src/b.tar.gz"),
        ("${FILE//a/${A}}", "./src/1.t1r.gz"),
        (r"${FILE//\//-}", ".-src-a.tar.gz"),
        ("${FILE//*a/x}", "xr.gz"),
        (r"${STAR#\*}", "b"),
        ("${STAR#'*'}", "*b"),
        ("${NONE//a/b}", ""),
        ("${A:?wanted}", "1"),
        ("${EMPTY?wanted}", ""),
        ("$1$@${0}x", "x"),
        ("\\$A \\a", "$A a"),
    ],
)
def test_variables_are_put_in(text: str, expected: str) -> None:
    assert whole_word(text, {**VARIABLES, "FILE": "./src/a.tar.gz", "STAR": "*b"}) == expected


def test_the_escape_character_may_be_another_one() -> None:
    assert expanded(r"C:\x`$A$A", VARIABLES, escape="`").text == r"C:\x$A1"


def test_quotes_of_heredocs_are_their_own() -> None:
    assert expanded('it\'s "$A" \\$A', VARIABLES, quotes=False).text == 'it\'s "1" $A'


def test_names_that_were_used_are_told() -> None:
    result = expanded("$A $B ${C:-$D} '$E' ${EMPTY+$PATH}", VARIABLES)
    assert result.unset == {"B", "C", "D"}
    assert result.used == {"A", "EMPTY", "PATH"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${X?}", "X: is not allowed to be unset"),
        ("${EMPTY:?say so}", "EMPTY: say so"),
        ("${A:=1}", "unsupported modifier (:=) in substitution"),
        ("${A:#1}", "unsupported modifier (:#) in substitution"),
        ("${A:=${}", "syntax error: bad substitution"),
        ("${A", "syntax error: missing '}'"),
        ("${A:-'x}", "syntax error: missing '}'"),
        ("${A/b", "syntax error: missing '/' in ${}"),
        ("${}", "syntax error: bad substitution"),
        (r"${A#\b}", "invalid pattern (\\b) in substitution: invalid escape '\\b'"),
        ("'a", "unexpected end of statement while looking for matching single-quote"),
    ],
)
def test_errors_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        whole_word(text, VARIABLES)
    assert raised.value.message.startswith("failed to process ")
    assert raised.value.message.endswith(f": {message}")


@given(st.text(alphabet="ab*?", max_size=6), st.text(alphabet="ab", max_size=12))
def test_patterns_match_as_regular_expressions_do(pattern: str, text: str) -> None:
    for longest, many in ((False, ".*?"), (True, ".*")):
        regular = re.compile("".join({"*": many, "?": "."}.get(char, char) for char in pattern))
        found = regular.match(text)
        assert Glob(pattern).without_prefix(text, longest=longest) == (text[found.end() :] if found else text)
        back = regular.pattern and re.compile(
            "".join({"*": many, "?": "."}.get(char, char) for char in reversed(pattern))
        ).match(text[::-1])
        kept = text[: len(text) - back.end()] if back else text
        assert Glob(pattern).without_suffix(text, longest=longest) == kept
    if pattern:
        assert Glob(pattern).replaced(text, "-", everywhere=False) == re.sub(regular, "-", text, count=1)


def test_what_takes_long_elsewhere_is_quick() -> None:
    text = "a" * 20_000
    assert Glob("*a*a*a*a*b").without_prefix(text, longest=True) == text
    assert Glob("a*b").replaced(text, "", everywhere=True) == text


@pytest.mark.parametrize("text", ["'a", '"a', "${", "${A", "${A:-x", "${A:-" * 20])
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
