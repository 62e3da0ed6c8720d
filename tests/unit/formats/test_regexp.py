from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.formats.regexp import BadExpression, Several, check, found

ATOMS = st.sampled_from(["a", "b", "0", "é", ".", "[ab]", "[^a]", "[a-c0-9]", r"\d", r"\.", r"\bx", "^", "$", "/", "-"])
WORDS = st.text(alphabet="abcx0é./-_ ", max_size=12)


def _wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, max_size=3)
    repeated = st.tuples(inner, st.sampled_from(["*", "+", "?", "{1,2}", "*?"])).map("(?:{0[0]}){0[1]}".format)
    return several.map("".join) | several.map("|".join).map("(?:{})".format) | repeated | inner.map("({})".format)


@given(st.recursive(ATOMS, _wider, max_leaves=8), WORDS)
def test_what_it_finds_is_what_python_finds(expression: str, text: str) -> None:
    expected = re.search(expression.replace("$", r"\Z"), text, re.ASCII) is not None
    assert found(expression, text) == expected


@given(WORDS, WORDS, st.sampled_from(["{}", "^{}", "{}$", "^{}$"]))
def test_a_literal_is_found_with_and_without_anchors(word: str, text: str, shape: str) -> None:
    expected = re.search(shape.format(re.escape(word)).replace("$", r"\Z"), text) is not None
    assert found(shape.format(word.replace(".", r"\.")), text) == expected


@given(st.text(), st.text())
def test_hostile_expressions_give_an_answer_or_are_refused(expression: str, text: str) -> None:
    try:
        found(expression, text)
    except BadExpression as error:
        assert str(error).startswith("error parsing regexp: ")  # noqa: PT017


@pytest.mark.parametrize("expression", ["(a+)+$", "(a|aa)+$", "(.*a){25}$", "(?:a*)*b", "a*" * 40 + "b"])
def test_no_expression_makes_a_search_take_for_ever(expression: str) -> None:
    assert not found(expression, "a" * 5000 + "!")


@pytest.mark.parametrize("expression", ["(", "[b-a]", r"(a)\1", "(?=a)", "*", "((a{1000}){1000}){1000}"])
def test_what_is_no_expression_of_go_is_refused(expression: str) -> None:
    with pytest.raises(BadExpression):
        check(expression)


def test_the_syntax_is_that_of_go() -> None:
    assert found(r"^\pL+$", "été")
    assert found("(?i)WEB", "web")
    assert found(r"\Qa.b\E", "a.b")
    assert not found("(?P<name>x)", "y")
    assert found("^[[:alpha:]]+$", "abc")


def test_several_are_found_in_one_pass() -> None:
    several = Several(["^a", "b$", "c+", "^$"])
    assert sorted(several.found("acb")) == [0, 1, 2]
    assert several.found("x") == []
    assert several.found("") == [3]


@pytest.mark.parametrize("expressions", [["a", "["], ["a" * 100_000, "b" * 100_000]])
def test_several_of_which_one_is_wrong_or_that_are_too_long_are_refused(expressions: list[str]) -> None:
    with pytest.raises(BadExpression):
        Several(expressions)
