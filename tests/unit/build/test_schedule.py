"""The order of the work, and the cache that images carry."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.build.graph import Context, NodeFiles, Scratch
from orlop.build.inline_cache import FIELD, Made, cache_document, read_cache
from orlop.build.schedule import carry_out, units
from support.fake_builds import command, copy, graph, layer

KEY = "sha256:" + "1" * 64


@given(st.lists(st.lists(st.integers(0, 100), max_size=3), max_size=12), st.data())
def test_every_unit_is_done_once_after_those_before_it(before: list[list[int]], data: st.DataObject) -> None:
    plan = {unit: tuple(earlier % unit for earlier in earliers) if unit else () for unit, earliers in enumerate(before)}
    done: list[int] = []

    async def work(unit: int) -> None:
        await asyncio.sleep(0)
        assert set(plan[unit]) <= set(done)
        done.append(unit)

    asyncio.run(carry_out(plan, work))
    assert sorted(done) == sorted(plan)


async def test_the_first_failure_is_raised_as_it_is() -> None:
    async def work(unit: int) -> None:
        if unit:
            raise KeyError(unit)
        await asyncio.Event().wait()

    with pytest.raises(KeyError, match="1"):
        await carry_out({0: (), 1: ()}, work)


def test_a_hundred_thousand_unused_stages_cost_nothing() -> None:
    stages = [command(0, "x")] * 100_000
    tree = graph(Scratch(), *stages, copy(0, NodeFiles(7), "a"), copy(100_001, Context(), link=True))
    assert units(tree, tree.target.node) == {
        100_002: (100_001, ~100_002),
        ~100_002: (),
        100_001: (0, 7),
        7: (0,),
        0: (),
    }


def test_the_cache_of_an_image_says_nothing_that_was_measured() -> None:
    made = [Made(KEY, layer("a").diff_id, 1_500_000_000)]
    (entry,) = cache_document(made)
    assert entry == {"key": KEY, "diff_id": layer("a").diff_id, "created": "1970-01-01T00:00:01.5Z"}
    assert cache_document(made, epoch=0) == [entry | {"created": "1970-01-01T00:00:00Z"}]
    found = read_cache({FIELD: [entry]}, [layer("a")])
    assert (found[KEY].layer, found[KEY].created_at) == (layer("a"), 1_500_000_000)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {FIELD: None},
        {FIELD: {}},
        {FIELD: [1, {}, {"key": KEY}]},
        {FIELD: [{"key": KEY, "diff_id": layer("other").diff_id, "created": ""}]},
        {FIELD: [{"key": "k", "diff_id": layer("a").diff_id, "created": ""}]},
        {FIELD: [{"key": [], "diff_id": layer("a").diff_id, "created": ""}]},
    ],
)
def test_what_makes_no_sense_in_the_cache_of_an_image_is_left_out(document: dict[str, Any]) -> None:
    assert read_cache(document, [layer("a")]) == {}


def test_a_time_that_makes_no_sense_is_none() -> None:
    entry = {"key": KEY, "diff_id": layer("a").diff_id, "created": "9999-99-99"}
    assert read_cache({FIELD: [entry]}, [layer("a")])[KEY].created_at == 0
