"""Which parts of the build cache go."""

from __future__ import annotations

import pytest

from orlop.build.policy import Item, Rule, choose, default_rules, rule_of
from orlop.errors import InvalidArgument
from orlop.formats.filters import Filters

HOUR = 3600 * 10**9
NOW = 1000 * HOUR


def item(id: str, age: int = 0, size: int = 10, **fields: object) -> Item:
    return Item(id=id, size=size, used_at=NOW - age * HOUR, kind=str(fields.pop("kind", "regular")), **fields)  # type: ignore[arg-type]


def chosen(items: list[Item], rule: Rule, free: int = 0) -> str:
    return "".join(item.id for item in choose(items, rule, now=NOW, free=free))


def asked(**filters: str | list[str]) -> Rule:
    return rule_of(Filters.of(**{name.replace("_", "-"): value for name, value in filters.items()}), NOW)


ITEMS = [
    item("a", age=1),
    item("b", age=50, shared=True),
    item("c", age=50, in_use=True),
    item("d", age=3, kind="exec.cachemount", parents=("a",)),
]


def test_what_is_in_use_stays_and_what_is_shared_goes_only_with_all() -> None:
    assert chosen(ITEMS, Rule()) == "da"
    assert chosen(ITEMS, Rule(all=True)) == "bda"


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({"until": "2h"}, "d"),
        ({"unused_for": "30m"}, "da"),
        ({"id": "^a$"}, "a"),
        ({"id": "("}, ""),
        ({"type": "exec.cachemount"}, "d"),
        ({"parent": "a"}, "d"),
        ({"description": "x"}, ""),
        ({"private": []}, "da"),
        ({"private": "true"}, "da"),
        ({"shared": "true"}, ""),
        ({"inuse": "true"}, ""),
        ({"inuse": "false", "type": "regular"}, "a"),
    ],
)
def test_filters_choose(filters: dict[str, str | list[str]], ids: str) -> None:
    assert chosen(ITEMS, asked(**filters)) == ids


def test_filters_that_make_no_sense_are_refused_as_dockerd_does() -> None:
    for filters, text in (
        ({"until": "1h", "unused_for": "1h"}, 'conflicting filters: "until" and "unused-for"'),
        ({"id": ["a", "b"]}, "filters expect only one value"),
        (
            {"until": "soon"},
            "\"until\" filter expects a duration (e.g., '24h') or a timestamp: "
            'failed to parse value as time or duration: "soon"',
        ),
    ):
        with pytest.raises(InvalidArgument) as caught:
            asked(**filters)  # type: ignore[arg-type]
        assert caught.value.message == text


def test_the_least_recently_used_go_until_the_rest_fits() -> None:
    items = [item(name, age=age) for name, age in zip("abcd", (1, 4, 3, 2), strict=True)]
    assert chosen(items, Rule(reserved=20)) == "bc"
    assert chosen(items, Rule(max_used=39)) == "b"
    assert chosen(items, Rule(max_used=40)) == ""
    assert chosen(items, Rule(min_free=100), free=75) == "bcd"
    assert chosen(items, Rule(min_free=100), free=100) == ""
    assert chosen(items, Rule(min_free=100, reserved=30), free=0) == "b"
    assert chosen(items, Rule(max_used=30, min_free=100), free=80) == "bc"


def test_of_a_chain_that_was_used_at_once_the_upper_layers_go_first() -> None:
    assert chosen([item(str(depth), depth=depth) for depth in range(4)], Rule(reserved=20)) == "32"


def test_what_frees_nothing_is_not_removed_for_space() -> None:
    items = [item("a", age=9, shared=True), item("b", age=1), item("c")]
    assert chosen(items, Rule(all=True, max_used=10)) == "b"


def test_the_default_rules_drop_what_is_easily_made_first_and_what_is_old() -> None:
    gigabyte = 10**9
    items = [
        item("a", age=49, size=gigabyte, kind="source.local"),
        item("b", age=47, size=gigabyte, kind="exec.cachemount"),
        item("c", age=48, size=5 * gigabyte),
    ]
    rules = default_rules(disk=100 * gigabyte)
    assert [chosen(items, rule, free=50 * gigabyte) for rule in rules] == ["a", "", "", ""]
    assert [chosen(items, rule, free=18 * gigabyte) for rule in rules] == ["a", "", "ac", "ac"]
    assert chosen(items, rules[2], free=0) == "acb"[:2]  # 2 GB always stay
