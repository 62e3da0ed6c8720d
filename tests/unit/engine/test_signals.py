"""Signals by name and number."""

from __future__ import annotations

import pytest

from orlop.engine.containers.stop import parse_signal
from orlop.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "number"),
    [("KILL", 9), ("SIGTERM", 15), ("sigint", 2), ("9", 9), ("RTMIN", 34), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)],
)
def test_a_signal_is_known_by_name_and_by_number(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "FOO", "RTMIN+99", "RTMIN-1", "-9"])
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid signal: "):
        parse_signal(text)
