import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.formats.filters import Filters


@pytest.mark.parametrize(
    "text",
    ['{"label":{"a=b":true,"c":true}}', '{"label":["a=b","c"]}', '{"label":{"a=b":false,"c":true}}'],
)
def test_both_forms_of_json_mean_the_same(text: str) -> None:
    filters = Filters.parse(text, ["label"])
    assert filters.get("label") == ("a=b", "c")
    assert filters.match_labels({"a": "b", "c": "d"})
    assert not filters.match_labels({"a": "x", "c": "d"})
    assert not filters.match_labels(None)


def test_no_filters_match_everything() -> None:
    for text in ("", "{}", "null"):
        filters = Filters.parse(text, [])
        assert not filters
        assert filters.exact("id", "x")
        assert filters.regex("name", "x")
        assert filters.prefix("id", "x")
        assert filters.contains("id", "x")
        assert filters.match_labels(None)
        assert filters.match_prune_labels({"a": "b"})


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid filter 'colour'$"):
        Filters.parse('{"colour":["red"]}', ["label"])


@pytest.mark.parametrize("text", ["[", "[]", "1", '{"a":1}', '{"a":[1]}', '{"a":{"b":1}}', "[" * 100_000])
def test_malformed_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid filter$"):
        Filters.parse(text, ["a"])


def test_truth_values() -> None:
    assert Filters.of(dangling="1").boolean("dangling") is True
    assert Filters.of(dangling="false").boolean("dangling", default=True) is False
    assert Filters().boolean("dangling", default=True) is True
    for values in (["maybe"], ["1", "0"]):
        with pytest.raises(InvalidArgument, match=r"invalid filter 'dangling=\["):
            Filters.of(dangling=values).boolean("dangling")


def test_names_match_as_parts_or_regular_expressions() -> None:
    assert Filters.of(name="eb").regex("name", "web")
    assert Filters.of(name="^web.$").regex("name", "web1")
    assert not Filters.of(name="^web$").regex("name", "web1")
    assert not Filters.of(name="(").regex("name", "web1")
    assert Filters.of(name="(").regex("name", "(")


def test_prune_labels_can_exclude() -> None:
    filters = Filters({"label": ("keep",), "label!": ("never=1",)})
    assert filters.match_prune_labels({"keep": ""})
    assert not filters.match_prune_labels({"keep": "", "never": "1"})
    assert not filters.match_prune_labels({})


@given(st.text() | st.recursive(st.none() | st.booleans() | st.text(), st.lists).map(json.dumps))
def test_hostile_text_gives_filters_or_a_clear_refusal(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        Filters.parse(text, ["a"])
