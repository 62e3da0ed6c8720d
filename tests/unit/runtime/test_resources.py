"""From ``HostConfig`` to OCI resources."""

from __future__ import annotations

from typing import Any

import pytest

from orlop.errors import InvalidArgument
from orlop.model.api.container import HostConfig, ThrottleDevice, WeightDevice
from orlop.runtime import resources
from orlop.runtime.facts import HostFacts

MIB = 1 << 20
FACTS = HostFacts(blkio_weight=True)


def number(path: str) -> tuple[int, int]:
    if path != "/dev/sda":
        raise FileNotFoundError(2, "No such file or directory", path)
    return 8, 0


def plan(facts: HostFacts = FACTS, **host: Any) -> dict[str, Any]:
    return resources.plan(HostConfig(**host), facts, number)


def test_nothing_asked_is_nothing_limited() -> None:
    assert plan() == {}


def test_memory_alone_gets_as_much_swap_again() -> None:
    assert plan(memory=64 * MIB)["memory"] == {"limit": 64 * MIB, "swap": 128 * MIB}
    assert plan(memory=64 * MIB, memory_swap=-1)["memory"] == {"limit": 64 * MIB, "swap": -1}
    assert resources.adapt(HostConfig(memory=64 * MIB), FACTS).memory_swap == 128 * MIB


def test_processors_are_a_quota_of_a_tenth_of_a_second() -> None:
    assert plan(nano_cpus=1_500_000_000)["cpu"] == {"period": 100_000, "quota": 150_000}
    assert plan(cpu_period=5000, cpu_quota=-1, cpuset_cpus="0")["cpu"] == {"period": 5000, "quota": -1, "cpus": "0"}


@pytest.mark.parametrize(("asked", "kept"), [(1, 2), (1024, 1024), (10**6, 262_144)])
def test_shares_stay_in_the_kernels_range(asked: int, kept: int) -> None:
    assert plan(cpu_shares=asked)["cpu"] == {"shares": kept}


def test_a_limit_of_tasks_can_be_lifted() -> None:
    assert [plan(pids_limit=limit)["pids"]["limit"] for limit in (7, 0, -1)] == [7, -1, -1]


def test_block_devices_are_named_by_number() -> None:
    block = plan(
        blkio_weight=300,
        blkio_weight_device=[WeightDevice(path="/dev/sda", weight=10)],
        blkio_device_read_bps=[ThrottleDevice(path="/dev/sda", rate=MIB)],
        blkio_device_write_iops=[ThrottleDevice(path="/dev/sda", rate=5)],
    )["blockIO"]
    assert block == {
        "weight": 300,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": MIB}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 5}],
    }


def test_a_block_device_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidArgument, match="stat /dev/none: no such file or directory"):
        plan(blkio_device_read_bps=[ThrottleDevice(path="/dev/none", rate=1)])


def test_what_the_kernel_cannot_do_is_not_asked_of_it() -> None:
    facts = HostFacts(swap_limit=False, memory_swappiness=False, oom_kill_disable=False, cpuset=False)
    asked = {"memory": 64 * MIB, "memory_swappiness": 5, "oom_kill_disable": True, "cpuset_cpus": "0"}
    assert plan(facts, **asked) == {"memory": {"limit": 64 * MIB, "swap": -1}}


def test_an_update_leaves_the_oom_killer_as_it_is() -> None:
    host = HostConfig(memory=64 * MIB, oom_kill_disable=True)
    assert resources.for_update(host, FACTS) == {"memory": {"limit": 64 * MIB, "swap": 128 * MIB}}
