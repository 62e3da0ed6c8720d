"""Platforms: one spelling for each, and the choice of what a host runs."""

from __future__ import annotations

import pytest

from orlop.errors import InvalidArgument
from orlop.formats.platform import Platform, choose, host, parse, parse_json

AMD64 = Platform("linux", "amd64")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("linux/x86_64", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("Linux/AMD64", "linux/amd64"),
    ],
)
def test_platforms_have_one_spelling(text: str, shown: str) -> None:
    assert str(parse(text)) == shown


@pytest.mark.parametrize("text", ["", "linux", "a/b/c/d", "linux/amd 64", "linux/"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse(text)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"os":"linux"}', '{"os":1,"architecture":"x"}'])
def test_what_is_no_json_of_a_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="failed to parse platform"):
        parse_json(text)


def test_the_json_form_is_read() -> None:
    assert parse_json('{"os":"linux","architecture":"arm64","variant":"v8"}') == host("aarch64")


def test_the_exact_platform_wins_then_the_nearest_older_variant() -> None:
    arm = [Platform("linux", "arm", "v5"), Platform("linux", "arm", "v7"), Platform("linux", "arm", "v6")]
    assert choose(Platform("linux", "arm", "v7"), arm) == 1
    assert choose(Platform("linux", "arm", "v6"), arm) == 2
    assert choose(Platform("linux", "arm", "v5"), arm) == 0
    assert choose(AMD64, [Platform("linux", "386"), AMD64]) == 1
    assert choose(AMD64, [Platform("linux", "386")]) == 0


def test_what_does_not_run_is_not_chosen() -> None:
    assert (
        choose(AMD64, [Platform("windows", "amd64"), Platform("linux", "arm64"), Platform("unknown", "unknown")])
        is None
    )
    assert choose(AMD64, [Platform("linux", "amd64", "v3")]) is None
