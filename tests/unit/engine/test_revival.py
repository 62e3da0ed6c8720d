from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orlop.engine.revival import circles

NAMES = st.sampled_from("abcdefgh")


def test_who_needs_itself_by_a_detour_is_found_and_who_only_needs_such_a_one_is_not() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"], "e": ["e"], "f": [], "g": ["f"]}) == set("abce")


@given(st.dictionaries(NAMES, st.sets(NAMES)))
def test_without_those_of_circles_every_start_has_an_order(needs: dict[str, set[str]]) -> None:
    stuck = circles(needs)
    done: set[str] = set(stuck) | (set("abcdefgh") - needs.keys())
    while ready := {name for name, needed in needs.items() if name not in done and needed <= done}:
        done |= ready
    assert done >= needs.keys()
