"""Columns, sizes, times and JSON as docker prints them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.cli import humanize
from orlop.cli.listing import Row, render_rows
from orlop.cli.output import display_width, ellipsis, indent_json, tabulate

cells = st.text(alphabet=st.characters(exclude_characters="\t\n\v\f\r", exclude_categories=["Cs", "Cc"]), max_size=12)


@given(st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=6), st.integers(0, 20), st.integers(0, 4))
def test_full_rows_are_aligned(rows: list[list[str]], minimum: int, padding: int) -> None:
    lines = tabulate("".join("\t".join(row) + "\n" for row in rows), minimum=minimum, padding=padding).split("\n")
    widths = [max(minimum, *(display_width(row[column]) + padding for row in rows)) for column in (0, 1)]
    for row, line in zip(rows, lines, strict=False):
        expected = "".join(cell + " " * (width - display_width(cell)) for cell, width in zip(row, widths, strict=False))
        assert line == expected + row[2]


@given(st.text(alphabet="ab\t\n", max_size=60))
def test_nothing_but_blanks_is_added(text: str) -> None:
    aligned = tabulate(text)
    assert aligned.replace(" ", "") == text.replace("\t", "")


def test_a_column_is_a_block_of_lines() -> None:
    assert tabulate("a\tb\nlonger than ten\tc\nno cell\nx\ty\n") == (
        "a                 b\nlonger than ten   c\nno cell\nx         y\n"
    )


@pytest.mark.parametrize(
    ("text", "width", "expected"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本語", 4, "日…"), ("日本", 4, "日本")]
)
def test_ellipsis_counts_cells(text: str, width: int, expected: str) -> None:
    assert ellipsis(text, width) == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values, st.booleans())
def test_json_is_indented_like_pythons_and_not_changed(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert indent_json(text) == json.dumps(value, indent=4, ensure_ascii=ascii_only)
    assert indent_json(json.dumps(value, indent=1), compact=True) == json.dumps(value, separators=(",", ":"))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    assert humanize.duration(seconds) == expected


def test_sizes() -> None:
    assert [humanize.human_size(size, 3) for size in (0, 999, 1000, 4261550, 123456789)] == [
        "0B",
        "999B",
        "1kB",
        "4.26MB",
        "123MB",
    ]
    assert humanize.bytes_size(1536) == "1.5KiB"
    assert humanize.human_size(10**27) == "1000YB"


class Fruit(Row):
    headings = {"Name": "NAME", "Weight": "WEIGHT"}  # noqa: RUF012

    def __init__(self, name: str) -> None:
        self._name = name

    def Name(self) -> str:
        return self._name

    def Weight(self) -> str:
        return "5"

    def Label(self, name: str) -> str:
        return f"<{name}>"


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("{{.Name}}", "fig\nplum\n"),
        ("json", '{"Name":"fig","Weight":"5"}\n{"Name":"plum","Weight":"5"}\n'),
        (r"{{.Name}}\t{{json .Weight}}", 'fig\t"5"\nplum\t"5"\n'),
        ("table {{.Name}}\t{{.Weight}}", "NAME      WEIGHT\nfig       5\nplum      5\n"),
        ('table {{upper .Name}}\t{{.Label "a.b-c"}}', "NAME      b c\nFIG       <a.b-c>\nPLUM      <a.b-c>\n"),
    ],
)
def test_lists_in_all_formats(format: str, expected: str) -> None:
    assert render_rows([Fruit("fig"), Fruit("plum")], Fruit.headings, format) == expected
