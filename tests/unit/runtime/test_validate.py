"""What is refused, what is warned of: dockerd's words, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from orlop.errors import Conflict, InvalidArgument
from orlop.model.api.container import (
    ContainerConfig,
    ContainerUpdate,
    HealthConfig,
    HostConfig,
    LogConfig,
    RestartPolicy,
    ThrottleDevice,
)
from orlop.model.record import ContainerRecord
from orlop.runtime.facts import HostFacts
from orlop.runtime.validate import validate, validate_update

MIB = 1 << 20
FACTS = HostFacts(cpus=2, cpuset_cpus="0-1", cpuset_mems="0", cpu_realtime=True, blkio_weight=True)
NOTHING = HostFacts(
    cpus=2,
    memory_limit=False,
    swap_limit=False,
    memory_reservation=False,
    memory_swappiness=False,
    oom_kill_disable=False,
    pids_limit=False,
    cpu_shares=False,
    cpu_cfs=False,
    cpuset=False,
    blkio_throttle=False,
    cgroup_namespaces=False,
)
UNLINKED = "This would result in undefined behavior"


def refusal(config: ContainerConfig | None = None, **host: Any) -> str:
    with pytest.raises(InvalidArgument) as raised:
        validate(config or ContainerConfig(), HostConfig(**host), FACTS)
    return raised.value.message


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"memory": MIB}, "Minimum memory limit allowed is 6MB"),
        (
            {"memory": 64 * MIB, "memory_swap": 32 * MIB},
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        ({"memory_swap": MIB}, "You should always set the Memory limit when using Memoryswap limit, see usage"),
        ({"memory_swappiness": 101}, "Invalid value: 101, valid memory swappiness range is 0-100"),
        ({"memory_reservation": MIB}, "Minimum memory reservation allowed is 6MB"),
        (
            {"memory": 8 * MIB, "memory_reservation": 9 * MIB},
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        (
            {"nano_cpus": 1, "cpu_period": 1000},
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ),
        ({"nano_cpus": 1, "cpu_quota": 1000}, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        (
            {"nano_cpus": 3 * 10**9},
            "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
        ),
        (
            {"cpu_period": 999},
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        ({"cpu_quota": 999}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (
            {"cpu_realtime_period": 1, "cpu_realtime_runtime": 2},
            "cpu real-time runtime cannot be higher than cpu real-time period",
        ),
        ({"cpuset_cpus": "0-2"}, "Requested CPUs are not available - requested 0-2, available: 0-1"),
        ({"cpuset_mems": "1"}, "Requested memory nodes are not available - requested 1, available: 0"),
        ({"cpuset_cpus": "x"}, "Invalid value x for cpuset cpus: invalid format: x"),
        ({"blkio_weight": 5}, "Range of blkio weight is from 10 to 1000"),
        (
            {"io_maximum_iops": 1},
            "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps",
        ),
        ({"ipc_mode": "bogus"}, "invalid IPC mode: bogus"),
        ({"ipc_mode": "container:"}, "invalid IPC mode: container:"),
        ({"pid_mode": "bogus"}, "invalid PID mode: bogus"),
        ({"uts_mode": "private"}, "invalid UTS mode: private"),
        ({"cgroupns_mode": "bogus"}, "invalid cgroup namespace mode: bogus"),
        ({"userns_mode": "private"}, "invalid user namespace mode: private"),
        ({"shm_size": -1}, "SHM size can not be less than 0"),
        (
            {"log_config": LogConfig(type="local", config={"env-regex": "("})},
            "invalid log opt 'env-regex': error parsing regexp: missing ): (",
        ),
        ({"oom_score_adj": 1001}, "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
        ({"runtime": "kata"}, "unknown or invalid runtime name: kata"),
        ({"isolation": "hyperv"}, "Invalid isolation: \"hyperv\" - linux only supports 'default'"),
        (
            {"storage_opt": {"size": "1G"}},
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        ),
        (
            {"auto_remove": True, "restart_policy": RestartPolicy(name="always")},
            "can't create 'AutoRemove' container with restart policy",
        ),
        (
            {"restart_policy": RestartPolicy(name="sometimes")},
            "invalid restart policy: unknown policy 'sometimes'; "
            "use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        ),
        (
            {"restart_policy": RestartPolicy(name="always", maximum_retry_count=-1)},
            "invalid restart policy: maximum retry count can only be used with 'on-failure' and cannot be negative",
        ),
        (
            {"restart_policy": RestartPolicy(name="on-failure", maximum_retry_count=-1)},
            "invalid restart policy: maximum retry count cannot be negative",
        ),
        (
            {"network_mode": "host", "sysctls": {"net.core.somaxconn": "1"}},
            'sysctl "net.core.somaxconn" not allowed in host network namespace',
        ),
        (
            {"network_mode": "container:"},
            "Invalid network mode: invalid container format container:<name|id>",
        ),
        ({"network_mode": "container:x", "dns": ["1.1.1.1"]}, "conflicting options: dns and the network mode"),
        (
            {"network_mode": "container:x", "links": ["a"]},
            f"conflicting options: container type network can't be used with links. {UNLINKED}",
        ),
        (
            {"network_mode": "host", "links": ["a"]},
            f"conflicting options: host type networking can't be used with links. {UNLINKED}",
        ),
        (
            {"network_mode": "container:x", "publish_all_ports": True},
            "conflicting options: port publishing and the container type network mode",
        ),
        ({"cgroup_parent": "/a/../.."}, "invalid cgroup parent: /a/../.."),
    ],
)
def test_what_makes_no_sense_is_refused(host: dict[str, Any], message: str) -> None:
    assert refusal(**host) == message


@pytest.mark.parametrize(
    ("config", "host", "message"),
    [
        (
            ContainerConfig(working_dir="srv"),
            {},
            "the working directory 'srv' is invalid, it needs to be an absolute path",
        ),
        (ContainerConfig(env=["=x"]), {}, "invalid environment variable: =x"),
        (
            ContainerConfig(healthcheck=HealthConfig(interval=1)),
            {},
            "Interval in Healthcheck cannot be less than 1ms",
        ),
        (
            ContainerConfig(hostname="a"),
            {"network_mode": "container:x"},
            "conflicting options: hostname and the network mode",
        ),
        (ContainerConfig(hostname="a"), {"uts_mode": "host"}, "conflicting options: hostname and the UTS mode"),
        (
            ContainerConfig(exposed_ports={"80/tcp": {}}),
            {"network_mode": "container:x"},
            "conflicting options: port exposing and the container type network mode",
        ),
        (
            ContainerConfig(mac_address="02:00:00:00:00:01"),
            {"network_mode": "host"},
            "conflicting options: mac-address and the network mode",
        ),
    ],
)
def test_both_halves_are_checked_together(config: ContainerConfig, host: dict[str, Any], message: str) -> None:
    assert refusal(config, **host) == message


def test_an_ordinary_container_passes_without_a_warning() -> None:
    host = HostConfig(
        memory=64 * MIB,
        memory_swap=-1,
        nano_cpus=2 * 10**9,
        cpuset_cpus="0,1",
        pids_limit=-1,
        restart_policy=RestartPolicy(name="on-failure", maximum_retry_count=3),
        network_mode="bridge",
        ipc_mode="container:x",
        pid_mode="container:y",
        runtime="runc",
        sysctls={"net.ipv4.ip_forward": "1"},
    )
    assert validate(ContainerConfig(hostname="box"), host, FACTS) == []


def test_what_the_kernel_cannot_do_is_warned_of() -> None:
    host = HostConfig(
        memory=64 * MIB,
        memory_reservation=32 * MIB,
        memory_swappiness=1,
        kernel_memory=64 * MIB,
        oom_kill_disable=True,
        pids_limit=5,
        cpu_shares=512,
        cpu_quota=5000,
        cpuset_cpus="99",
        blkio_weight=500,
        blkio_device_read_bps=[ThrottleDevice(path="/dev/x", rate=1)],
        cgroupns_mode="private",
    )
    mounted = "or the cgroup is not mounted."
    assert validate(ContainerConfig(), host, NOTHING) == [
        f"Your kernel does not support memory limit capabilities {mounted} Limitation discarded.",
        f"Your kernel does not support memory swappiness capabilities {mounted} Memory swappiness discarded.",
        f"Your kernel does not support memory soft limit capabilities {mounted} Limitation discarded.",
        f"Your kernel does not support kernel memory limit capabilities {mounted} Limitation discarded.",
        "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
        f"Your kernel does not support PIDs limit capabilities {mounted} PIDs limit discarded.",
        f"Your kernel does not support CPU shares {mounted} Shares discarded.",
        "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
        f"Your kernel does not support cpuset {mounted} Cpuset discarded.",
        f"Your kernel does not support Block I/O weight {mounted} Weight discarded.",
        f"Your kernel does not support BPS Block I/O read limit {mounted} Block I/O BPS read limit discarded.",
        "Your kernel does not support cgroup namespaces.  Cgroup namespace setting discarded.",
    ]


def test_a_missing_swap_limit_is_warned_of_where_it_would_have_been_set() -> None:
    facts = HostFacts(swap_limit=False)
    (warning,) = validate(ContainerConfig(), HostConfig(memory=64 * MIB), facts)
    assert warning.endswith("Memory limited without swap.")
    assert validate(ContainerConfig(), HostConfig(memory=64 * MIB, memory_swap=-1), facts) == []


def stands(**host: Any) -> ContainerRecord:
    return ContainerRecord(
        id="c", name="box", created_at=0, image_id="", config=ContainerConfig(), host_config=HostConfig(**host)
    )


@pytest.mark.parametrize(
    ("host", "update", "message"),
    [
        (
            {"memory": 64 * MIB, "memory_swap": 128 * MIB},
            {"memory": 256 * MIB},
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ),
        (
            {"cpu_quota": 5000},
            {"nano_cpus": 10**9},
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        ),
        (
            {"nano_cpus": 10**9},
            {"cpu_period": 5000},
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        ),
        ({}, {"memory": MIB}, "Minimum memory limit allowed is 6MB"),
    ],
)
def test_an_update_has_to_fit_what_stands(host: dict[str, Any], update: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        validate_update(stands(**host), ContainerUpdate(**update), FACTS)
    assert raised.value.message == message


def test_what_is_removed_at_its_end_is_not_restarted() -> None:
    with pytest.raises(Conflict, match="because AutoRemove is enabled for the container"):
        validate_update(stands(auto_remove=True), ContainerUpdate(restart_policy=RestartPolicy(name="always")), FACTS)


def test_an_update_that_fits_passes() -> None:
    update = ContainerUpdate(memory=256 * MIB, memory_swap=512 * MIB, pids_limit=5)
    assert validate_update(stands(memory=64 * MIB, memory_swap=128 * MIB), update, FACTS) == []
