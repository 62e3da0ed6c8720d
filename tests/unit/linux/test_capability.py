"""Names, numbers and masks of capabilities."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.linux import capability


def test_numbers_are_the_kernels() -> None:
    known = {"CAP_CHOWN": 0, "CAP_SYS_ADMIN": 21, "CAP_SETFCAP": 31, "CAP_AUDIT_READ": 37, "CAP_CHECKPOINT_RESTORE": 40}
    assert {name: capability.number(name) for name in known} == known
    assert len(capability.NAMES) == 41


def test_docker_gives_fourteen_by_default() -> None:
    assert len(capability.DEFAULT) == 14
    assert capability.mask(capability.DEFAULT) == 0xA80425FB


@given(st.frozensets(st.sampled_from(capability.NAMES)))
def test_a_mask_and_its_names_are_the_same_thing(names: frozenset[str]) -> None:
    assert capability.names(capability.mask(names)) == names


def test_bounding_reads_the_status_of_a_process() -> None:
    status = "Name:\tx\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000401\n"
    assert capability.bounding(status) == {"CAP_CHOWN", "CAP_NET_BIND_SERVICE"}
    with pytest.raises(ValueError, match="CapBnd"):
        capability.bounding("Name:\tx\n")
