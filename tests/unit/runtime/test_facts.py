"""What is read of the machine."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.linux import cgroup
from orlop.runtime import facts


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.18.44-fc", (6, 18)), ("5.4", (5, 4)), ("6.1rc2", (6, 1)), ("6", (6, 0)), ("", (0, 0))],
)
def test_a_kernel_release_is_a_version(release: str, version: tuple[int, int]) -> None:
    assert facts.parse_release(release) == version


def test_os_release_is_read_with_and_without_quotes() -> None:
    text = '# comment\nPRETTY_NAME="Debian GNU/Linux 12"\nID=debian\n\nBROKEN\n'
    assert facts.parse_os_release(text) == {"PRETTY_NAME": "Debian GNU/Linux 12", "ID": "debian"}


@given(st.frozensets(st.integers(0, 100), max_size=6), st.frozensets(st.integers(0, 100), max_size=6))
def test_a_list_is_available_when_it_is_a_part(wanted: frozenset[int], having: frozenset[int]) -> None:
    def text(numbers: frozenset[int]) -> str:
        return ",".join(str(number) for number in numbers)

    assert facts.available(text(wanted), text(having)) == (wanted <= having)


def test_ranges_are_lists_too() -> None:
    assert facts.parse_list("0-2,7, 9-9") == {0, 1, 2, 7, 9}


@pytest.mark.parametrize("text", ["a", "1-", "-1", "2-1", "0-1000000000", ",", "1--2", "²", "١"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"invalid format|out range"):
        facts.parse_list(text)


def test_this_machine_is_described() -> None:
    found = facts.read_facts()
    assert found.hostname == os.uname().nodename
    assert found.cpus >= 1
    assert found.memory > 1 << 20
    assert found.cgroup_version == cgroup.detect().version
    assert found.memory_limit == ("memory" in found.controllers)
    assert found.capabilities
    assert facts.available("0", found.cpuset_cpus) or found.cpuset_cpus
