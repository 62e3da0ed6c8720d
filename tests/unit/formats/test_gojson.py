"""The errors of Go's JSON decoder, and none for what is JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.formats.gojson import explain

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{invalid", "invalid character 'i' looking for beginning of object key string"),
        ('{"a"]', "invalid character ']' after object key"),
        ('{"a": 1 "b"', "invalid character '\"' after object key:value pair"),
        ("[1 2]", "invalid character '2' after array element"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("tru3", "invalid character '3' in literal true (expecting 'e')"),
        ("-x", "invalid character 'x' in numeric literal"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("1e+x", "invalid character 'x' in exponent of numeric literal"),
        (r'"\x"', "invalid character 'x' in string escape code"),
        (r'"\u12g"', r"invalid character 'g' in \u hexadecimal character escape"),
        ('"\n"', r"invalid character '\n' in string literal"),
        ("'a'", r"invalid character '\'' looking for beginning of value"),
        ('{"a": [1, {', "unexpected EOF"),
        ('"abc', "unexpected EOF"),
        ("", "unexpected EOF"),
        ("{} trailing", ""),
    ],
)
def test_what_is_wrong_is_said_as_go_says_it(text: str, expected: str) -> None:
    assert explain(text.encode()) == expected


@given(JSON, st.sampled_from(["", " ", "\n\t"]))
def test_json_has_nothing_wrong(value: object, space: str) -> None:
    assert explain((space + json.dumps(value, indent=1) + space).encode()) == ""


@given(st.binary(max_size=40) | st.text(alphabet='{}[]",:\\u0123e.-+tfn ', max_size=40).map(str.encode))
def test_any_bytes_are_explained(data: bytes) -> None:
    text = explain(data)
    assert isinstance(text, str)


def test_what_is_nested_deep_is_no_trouble() -> None:
    assert "exceeded max depth" in explain(b"[" * 100_000)
