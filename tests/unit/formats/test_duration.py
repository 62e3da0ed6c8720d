import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.formats.duration import (
    SECOND,
    format_duration,
    format_rfc3339,
    parse_duration,
    parse_rfc3339,
    parse_time,
    parse_unix,
)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("5s", 5 * SECOND),
        ("1h30m", 5400 * SECOND),
        ("1.5h", 5400 * SECOND),
        ("-1m", -60 * SECOND),
        ("+100us", 100_000),
        ("3µs", 3_000),
        (".5s", SECOND // 2),
        ("1.0000000001s", SECOND),
    ],
)
def test_go_durations_are_understood(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("5", 'time: missing unit in duration "5"'),
        ("5d", 'time: unknown unit "d" in duration "5d"'),
        (".s", 'time: invalid duration ".s"'),
        ("s", 'time: invalid duration "s"'),
        ("99999999999999999999h", 'time: invalid duration "99999999999999999999h"'),
    ],
)
def test_malformed_durations_are_refused_as_go_does(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_duration(text)
    assert caught.value.message == message


@given(st.integers(min_value=-(2**62), max_value=2**62))
def test_a_formatted_duration_reads_back(ns: int) -> None:
    assert parse_duration(format_duration(ns)) == ns


@given(st.text(alphabet="0123456789.+-smhnuµ x"))
def test_hostile_durations_give_a_number_or_a_refusal(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        parse_duration(text)


def test_durations_look_like_go_s() -> None:
    assert [format_duration(ns) for ns in (0, 1, 1500, 2_000_000, 1_500_000_000, 5400 * SECOND, 90 * SECOND)] == [
        "0s",
        "1ns",
        "1.5µs",
        "2ms",
        "1.5s",
        "1h30m0s",
        "1m30s",
    ]


def test_unix_times_carry_nanoseconds() -> None:
    assert parse_unix("12") == 12 * SECOND
    assert parse_unix("12.5") == 12 * SECOND + SECOND // 2
    assert parse_unix("12.000000001") == 12 * SECOND + 1
    for text in ("", "x", "1.x", "1e3"):
        with pytest.raises(InvalidArgument, match="invalid syntax"):
            parse_unix(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02Z", 86400),
        ("1970-01-01T00:00:01Z", 1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T01Z", 3600),
        ("1970-01-01T00:01Z", 60),
    ],
)
def test_rfc3339_times_may_leave_out_their_end(text: str, seconds: int) -> None:
    assert parse_rfc3339(text) == seconds * SECOND


def test_impossible_dates_are_refused() -> None:
    for text in ("2026-13-01Z", "2026-02-30T00:00:00Z", "yesterday", "2026-01-01T00:00:00+99:00"):
        with pytest.raises(InvalidArgument, match="parsing time"):
            parse_rfc3339(text)


@given(st.integers(min_value=1, max_value=2**61))
def test_a_formatted_time_reads_back(ns: int) -> None:
    assert parse_rfc3339(format_rfc3339(ns)) == ns


def test_a_time_is_a_duration_ago_a_date_or_seconds() -> None:
    now = 1_000_000 * SECOND
    assert parse_time("10m", now) == now - 600 * SECOND
    assert parse_time("1970-01-01T00:00:01Z", now) == SECOND
    assert parse_time("42.5", now) == 42 * SECOND + SECOND // 2
    assert parse_time("0", now) == 0
    with pytest.raises(InvalidArgument, match='failed to parse value as time or duration: "soon"'):
        parse_time("soon", now)


def test_never_is_go_s_zero_time() -> None:
    assert format_rfc3339(0) == "0001-01-01T00:00:00Z"
    assert format_rfc3339(SECOND + 120_000_000) == "1970-01-01T00:00:01.12Z"
