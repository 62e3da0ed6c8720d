"""The word that was meant."""

from __future__ import annotations

import pytest

from orlop.build.dockerfile.suggest import nearest, suggested


@pytest.mark.parametrize(
    ("word", "meant"), [("abcx", "abcd"), ("bcd", "abcd"), ("acbd", "abcd"), ("a", ""), ("abcd", ""), ("ABCD", "")]
)
def test_two_edits_are_near_enough(word: str, meant: str) -> None:
    assert nearest(word, ("abcd", "zzzzzzzz")) == meant


def test_the_nearest_one_is_meant_and_the_first_of_several() -> None:
    assert nearest("abx", ("abyy", "aby", "abz")) == "aby"


def test_without_case_the_answer_is_spelled_like_the_question() -> None:
    assert nearest("COPPY", ("copy",), ignore_case=True) == "COPY"
    assert nearest("Coppy", ("COPY",), ignore_case=True) == "copy"
    assert nearest("cOPY", ("copy",), ignore_case=True) == ""


def test_a_message_is_left_alone_without_a_suggestion() -> None:
    assert suggested("no x", "x", ("something",)) == "no x"
    assert suggested("no ruN", "ruN", ("run",)) == "no ruN (did you mean run?)"
