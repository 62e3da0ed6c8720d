"""The simple half of Go's templates."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.formats.template import Field, go_json, go_quote, go_text, parse, render, unescape


def shown(template: str, data: Any) -> str | None:
    parts = parse(template)

    def look_up(path: tuple[str, ...]) -> Any:
        value = data
        for name in path:
            value = value[name]
        return value

    return None if parts is None else render(parts, look_up)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{.A}}", "1"),
        ("{{ .A }}-{{.B.C}}", "1-x"),
        ("{{json .B}}", '{"C":"x"}'),
        ("{{json .}}", '{"A":1,"B":{"C":"x"},"L":["a",null,true],"N":null,"F":1.5}'),
        ("{{.L}} {{.N}} {{.F}}", "[a <nil> true] <no value> 1.5"),
        ("{{.B}}", "map[C:x]"),
        ("}} {", "}} {"),
    ],
)
def test_simple_templates_render_as_in_go(template: str, expected: str) -> None:
    data = {"A": 1, "B": {"C": "x"}, "L": ["a", None, True], "N": None, "F": 1.5}
    assert shown(template, data) == expected


@pytest.mark.parametrize(
    "template",
    ["{{", "{{.A", "{{.A | upper}}", "{{- .A}}", "{{if .A}}x{{end}}", "{{$x}}", "{{.A.}}", "{{upper .A}}", "{{}}"],
)
def test_everything_else_is_left_to_the_full_implementation(template: str) -> None:
    assert parse(template) is None


@given(st.text(), st.lists(st.from_regex(r"[A-Za-z_]\w{0,5}", fullmatch=True).filter(str.isascii), min_size=1))
def test_text_and_fields_are_taken_apart_and_nothing_is_lost(text: str, names: list[str]) -> None:
    text = text.replace("{", "").replace("}", "")
    parts = parse(f"{text}{{{{.{'.'.join(names)}}}}}{text}")
    assert parts is not None
    assert [part.path if isinstance(part, Field) else part for part in parts] == [
        *([text] if text else []),
        tuple(names),
        *([text] if text else []),
    ]


def test_values_are_encoded_and_quoted_as_in_go() -> None:
    assert go_json({"a": "<&>é\u2028"}) == '{"a":"<&>é\\u2028"}'
    assert go_json("<&>", escape_html=True) == '"\\u003c\\u0026\\u003e"'
    assert go_quote('a"b\\c\n\x00é\u200b…') == '"a\\"b\\\\c\\n\\x00é\\u200b…"'
    assert go_text(True) == "true"
    assert unescape(r"a\tb\nc") == "a\tb\nc"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_reads_back(value: Any) -> None:
    assert json.loads(go_json(value)) == value
    assert json.loads(go_json(value, escape_html=True)) == value
