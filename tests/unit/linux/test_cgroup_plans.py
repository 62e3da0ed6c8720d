"""What is written to a cgroup's files for given limits, on both versions."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orlop.linux.cgroup.cgroup import UNLIMITED, check_path
from orlop.linux.cgroup.device_rules import Rule, normalise
from orlop.linux.cgroup.v1 import blkio, cpuset, devices, pids
from orlop.linux.cgroup.v1 import cpu as cpu1
from orlop.linux.cgroup.v1 import memory as memory1
from orlop.linux.cgroup.v2 import cpu as cpu2
from orlop.linux.cgroup.v2 import io
from orlop.linux.cgroup.v2 import memory as memory2

MIB = 1 << 20


def everything(_file: str) -> bool:
    return True


def nothing(_file: str) -> bool:
    return False


@given(st.integers(1, 64), st.integers(0, 64), st.integers(1, 64), st.integers(0, 64))
def test_v1_memory_never_exceeds_memory_and_swap_on_the_way(old: int, more: int, new: int, plus: int) -> None:
    stands = {"memory.limit_in_bytes": old, "memory.memsw.limit_in_bytes": old + more}
    limits = {"memory": {"limit": new, "swap": new + plus}}
    for file, value in memory1.plan(limits, everything, memory1.Current(old, old + more)):
        stands[file] = int(value)
        assert stands["memory.limit_in_bytes"] <= stands["memory.memsw.limit_in_bytes"]
    assert stands == {"memory.limit_in_bytes": new, "memory.memsw.limit_in_bytes": new + plus}


def test_v1_without_swap_accounting_unlimited_swap_is_what_stands_anyway() -> None:
    limits = {"memory": {"limit": 64 * MIB, "swap": -1}}
    assert memory1.plan(limits, nothing) == [("memory.limit_in_bytes", str(64 * MIB))]


def test_v1_memory_writes_the_rest_of_its_limits() -> None:
    limits = {"memory": {"reservation": 32 * MIB, "swappiness": 0, "disableOOMKiller": True}}
    assert memory1.plan(limits, everything) == [
        ("memory.soft_limit_in_bytes", str(32 * MIB)),
        ("memory.swappiness", "0"),
        ("memory.oom_control", "1"),
    ]


def test_v2_limits_swap_alone() -> None:
    limits = {"memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB, "swappiness": 3}}
    assert memory2.plan(limits, everything) == [
        ("memory.swap.max", str(32 * MIB)),
        ("memory.max", str(64 * MIB)),
        ("memory.low", str(32 * MIB)),
    ]


@pytest.mark.parametrize(("memory", "both", "swap"), [(10, 10, 0), (10, 15, 5), (10, -1, -1), (0, -1, -1)])
def test_v2_swap_is_what_is_left_of_both(memory: int, both: int, swap: int) -> None:
    assert memory2.swap_alone(memory, both) == swap


@pytest.mark.parametrize(("memory", "both"), [(0, 10), (-1, 10), (10, 9)])
def test_v2_refuses_swap_without_a_smaller_limit_on_memory(memory: int, both: int) -> None:
    with pytest.raises(OSError, match="needs one on memory") as raised:
        memory2.swap_alone(memory, both)
    assert raised.value.errno == errno.EINVAL


@given(st.integers(1000, 10**6), st.integers(1000, 10**6), st.integers(1000, 10**6), st.integers(1000, 10**6))
def test_v1_bandwidth_never_exceeds_both_the_old_and_the_new(
    old_period: int, old_quota: int, period: int, quota: int
) -> None:
    highest = max(old_quota / old_period, quota / period)
    stands = {"cpu.cfs_period_us": old_period, "cpu.cfs_quota_us": old_quota}
    for file, value in cpu1.plan({"cpu": {"quota": quota, "period": period}}, old_period):
        stands[file] = int(value)
        assert stands["cpu.cfs_quota_us"] / stands["cpu.cfs_period_us"] <= highest
    assert stands == {"cpu.cfs_period_us": period, "cpu.cfs_quota_us": quota}


def test_v2_writes_quota_and_period_together() -> None:
    assert cpu2.plan({"cpu": {"quota": 50_000}}) == [("cpu.max", "50000 100000")]
    assert cpu2.plan({"cpu": {"period": 20_000}}) == [("cpu.max", "max 20000")]
    assert cpu2.plan({"cpu": {"quota": -1, "period": 20_000}}) == [("cpu.max", "max 20000")]


@given(st.integers(2, 262_144), st.integers(2, 262_144))
def test_more_shares_are_never_less_weight(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert 1 <= cpu2.weight(low) <= cpu2.weight(high) <= 10_000


def test_default_shares_are_default_weight() -> None:
    assert [cpu2.weight(shares) for shares in (2, 512, 1024, 2048, 262_144)] == [1, 59, 100, 174, 10_000]


def test_cpuset_writes_what_is_named() -> None:
    assert cpuset.plan({"cpu": {"cpus": "0-1", "mems": ""}}) == [("cpuset.cpus", "0-1")]


@pytest.mark.parametrize(("limit", "text"), [(100, "100"), (-1, "max"), (0, "max")])
def test_a_limit_of_tasks_that_is_not_positive_is_none(limit: int, text: str) -> None:
    assert pids.plan({"pids": {"limit": limit}}) == [("pids.max", text)]


def test_nothing_asked_is_nothing_written() -> None:
    assert memory1.plan({}, everything) == cpu1.plan({}) == pids.plan({}) == blkio.plan({}, everything) == []
    assert memory2.plan({}, everything) == cpu2.plan({}) == io.plan({}, everything) == []


BLOCK = {
    "blockIO": {
        "weight": 500,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": MIB}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}],
    }
}


def test_v1_block_io_uses_the_weights_of_the_scheduler_there_is() -> None:
    throttles = [
        ("blkio.throttle.read_bps_device", f"8:0 {MIB}"),
        ("blkio.throttle.write_iops_device", "8:0 0"),
    ]
    weights = [("blkio.weight", "500"), ("blkio.weight_device", "8:0 10")]
    assert blkio.plan(BLOCK, nothing) == weights + throttles
    weights = [("blkio.bfq.weight", "500"), ("blkio.bfq.weight_device", "8:0 10")]
    assert blkio.plan(BLOCK, everything) == weights + throttles


def test_v2_block_io_converts_weights_unless_the_scheduler_has_v1s() -> None:
    throttles = [("io.max", f"8:0 rbps={MIB}"), ("io.max", "8:0 wiops=max")]
    assert io.plan(BLOCK, everything) == [("io.bfq.weight", "500"), ("io.bfq.weight", "8:0 10"), *throttles]
    assert io.plan(BLOCK, nothing) == [("io.weight", "4950"), ("io.weight", "8:0 1"), *throttles]


def test_device_rules_keep_their_order_and_wildcards() -> None:
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "mr"},
        {"allow": True, "type": "b", "major": 8},
    ]
    assert devices.plan({"devices": rules}) == [
        ("devices.deny", "a"),
        ("devices.allow", "c 1:3 rm"),
        ("devices.allow", "b 8:* rwm"),
    ]


def test_a_rule_for_all_types_of_one_number_does_not_open_everything() -> None:
    rules = [{"allow": True, "type": "a", "major": 10, "minor": 200, "access": "r"}]
    assert normalise(rules) == [Rule(True, "b", 10, 200, "r"), Rule(True, "c", 10, 200, "r")]
    assert devices.plan({"devices": rules}) == [
        ("devices.allow", "b 10:200 r"),
        ("devices.allow", "c 10:200 r"),
    ]


@pytest.mark.parametrize("path", ["/", "", "a/../b", "/..", "/a\0b", "/a\nb"])
def test_what_is_no_path_of_a_cgroup_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not the path of a cgroup"):
        check_path(path)


def test_an_unlimited_limit_is_above_every_other() -> None:
    limits = {"memory": {"limit": 8 * MIB, "swap": -1}}
    assert [file for file, _ in memory1.plan(limits, everything, memory1.Current(MIB, 2 * MIB))] == [
        "memory.memsw.limit_in_bytes",
        "memory.limit_in_bytes",
    ]
    assert UNLIMITED % 4096 == 0
