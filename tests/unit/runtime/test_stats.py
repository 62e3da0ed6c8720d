"""Docker's statistics, made of counters."""

from __future__ import annotations

from typing import Any

import pytest

from orlop.model.api.container import ContainerConfig, HostConfig
from orlop.model.record import ContainerRecord
from orlop.runtime.runtime import Usage
from orlop.runtime.stats import Sample, docker_stats, parse_net_dev, parse_system_cpu

NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0
  eth0:    7000      70    1    2    0     0          0         0      800       8    3    4    0     0       0
"""


def record(network_mode: str = "bridge") -> ContainerRecord:
    return ContainerRecord(
        id="f" * 64,
        name="web",
        created_at=1,
        image_id="sha256:0",
        config=ContainerConfig(),
        host_config=HostConfig(network_mode=network_mode),
    )


def sample(**usage: Any) -> Sample:
    return Sample(Usage(read_at=1_700_000_000_500_000_000, **usage), 10, 2, 1 << 30, 1, {"eth0": {"rx_bytes": 1}})


def test_a_stopped_container_has_dockers_zeros() -> None:
    zero_cpu = {
        "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
        "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
    }
    body = docker_stats(record(), None, None)
    assert body["read"] == body["preread"] == "0001-01-01T00:00:00Z"
    assert body["cpu_stats"] == body["precpu_stats"] == zero_cpu
    assert body["memory_stats"] == body["pids_stats"] == body["storage_stats"] == {}
    assert body["blkio_stats"]["io_service_bytes_recursive"] is None
    assert (body["name"], body["id"], body["num_procs"]) == ("/web", "f" * 64, 0)
    assert "networks" not in body


def test_a_running_container_shows_this_reading_and_the_one_before() -> None:
    before = sample(cpu_total=5)
    now = sample(
        cpu_total=9,
        cpu_system=2,
        per_cpu=[4, 5],
        memory_usage=7,
        memory_max=8,
        memory_limit=1 << 62,
        pids=3,
        pids_limit=9,
    )
    body = docker_stats(record(), now, before)
    assert body["read"] == "2023-11-14T22:13:20.5Z"
    assert body["cpu_stats"]["cpu_usage"] == {
        "total_usage": 9,
        "percpu_usage": [4, 5],
        "usage_in_kernelmode": 2,
        "usage_in_usermode": 0,
    }
    assert (body["cpu_stats"]["system_cpu_usage"], body["cpu_stats"]["online_cpus"]) == (10, 2)
    assert body["precpu_stats"]["cpu_usage"]["total_usage"] == 5
    assert body["memory_stats"] == {"usage": 7, "max_usage": 8, "limit": 1 << 30}
    assert body["pids_stats"] == {"current": 3, "limit": 9}
    assert body["networks"] == {"eth0": {"rx_bytes": 1}}
    assert "networks" not in docker_stats(record("host"), now, before)


def test_net_dev_gives_every_interface_but_loopback() -> None:
    assert parse_net_dev(NET_DEV) == {
        "eth0": {
            "rx_bytes": 7000,
            "rx_packets": 70,
            "rx_errors": 1,
            "rx_dropped": 2,
            "tx_bytes": 800,
            "tx_packets": 8,
            "tx_errors": 3,
            "tx_dropped": 4,
        }
    }


@pytest.mark.parametrize(("hertz", "expected"), [(100, 280_000_000), (1000, 28_000_000)])
def test_the_hosts_cpu_time_is_the_sum_of_seven_columns(hertz: int, expected: int) -> None:
    text = "cpu  1 2 3 4 5 6 7 100 100 100\ncpu0 1 1 1\ncpu1 1 1 1\nintr 5\n"
    assert parse_system_cpu(text, hertz) == (expected, 2)
