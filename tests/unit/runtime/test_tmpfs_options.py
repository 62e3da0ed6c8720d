"""Options of a tmpfs: the last word on a thing counts, and an unknown one is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.runtime import tmpfs

PAIRS = [("ro", "rw"), ("exec", "noexec"), ("suid", "nosuid"), ("dev", "nodev"), ("private", "rshared")]
words = st.sampled_from(
    [word for pair in PAIRS for word in pair] + ["size=1m", "size=2m", "mode=1777", "uid=1", "defaults", ""]
)


@given(st.lists(words))
def test_the_last_word_on_a_thing_is_the_only_one(options: list[str]) -> None:
    merged = tmpfs.merge(options)
    for pair in PAIRS:
        named = [option for option in options if option in pair]
        assert [option for option in merged if option in pair] == named[-1:]
    sizes = [option for option in options if option.startswith("size=")]
    assert [option for option in merged if option.startswith("size=")] == sizes[-1:]
    assert tmpfs.merge(merged) == merged
    assert set(merged) <= set(options)


def test_defaults_can_be_overridden() -> None:
    assert tmpfs.merge([*tmpfs.DEFAULTS, "exec", "size=64m"]) == ["nosuid", "nodev", "rprivate", "exec", "size=64m"]


@given(st.text())
def test_any_other_text_is_refused_with_dockerds_words(text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        tmpfs.merge([f"x{text}"])
    assert raised.value.message == f'invalid tmpfs option ["x{text}"]'


@pytest.mark.parametrize("option", ["size", "bogus=1", "noexec=1", "rbind", "bind"])
def test_what_a_tmpfs_does_not_have_is_refused(option: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid tmpfs option"):
        tmpfs.merge([option])
