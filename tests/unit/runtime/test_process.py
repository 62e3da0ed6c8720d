"""Environment, limits and user of a process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.errors import InvalidArgument
from orlop.model.api.container import HostConfig, Ulimit
from orlop.runtime import process

names = st.sampled_from(["PATH", "HOSTNAME", "TERM", "A", "B"])
variables = st.lists(st.tuples(names, st.sampled_from(["=", "=1", "=x=y", ""])).map("".join))


def test_docker_order_of_the_environment() -> None:
    assert process.environment("box", True, ["A=1"]) == [
        f"PATH={process.DEFAULT_PATH}",
        "HOSTNAME=box",
        "TERM=xterm",
        "A=1",
    ]
    assert process.environment("box", False, ["PATH=/bin", "HOSTNAME"]) == ["PATH=/bin"]


@given(variables, variables)
def test_the_last_word_on_a_variable_counts(image: list[str], user: list[str]) -> None:
    result = process.environment("box", False, image, user)
    keys = [text.partition("=")[0] for text in result]
    assert len(set(keys)) == len(keys)
    for text in {text.partition("=")[0]: text for text in (*image, *user)}.values():
        assert (text in result) == ("=" in text)


def test_limits_of_the_container_override_the_daemons() -> None:
    defaults = {"nofile": Ulimit(name="nofile", soft=10, hard=20), "core": Ulimit(name="core", soft=0, hard=0)}
    host = HostConfig(ulimits=[Ulimit(name="nofile", soft=-1, hard=-1)])
    assert process.rlimits(host, defaults) == [
        {"type": "RLIMIT_NOFILE", "soft": 2**64 - 1, "hard": 2**64 - 1},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (Ulimit(name="bogus", soft=1, hard=1), "invalid ulimit type: bogus"),
        (
            Ulimit(name="nofile", soft=20, hard=10),
            "ulimit soft limit must be less than or equal to hard limit: 20 > 10",
        ),
        (
            Ulimit(name="nofile", soft=-1, hard=10),
            "ulimit soft limit must be less than or equal to hard limit: -1 > 10",
        ),
        (Ulimit(name="nofile", soft=-2, hard=-1), "invalid ulimit argument: nofile=-2:-1"),
    ],
)
def test_limits_that_cannot_be_are_refused(limit: Ulimit, message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        process.check_ulimits([limit])
    assert raised.value.message == message


@given(st.integers(), st.integers())
def test_a_limit_that_passes_can_be_set(soft: int, hard: int) -> None:
    limit = Ulimit(name="nofile", soft=soft, hard=hard)
    try:
        process.check_ulimits([limit])
    except InvalidArgument:
        return
    (rlimit,) = process.rlimits(HostConfig(ulimits=[limit]), {})
    assert 0 <= rlimit["soft"] <= rlimit["hard"] < 1 << 64
