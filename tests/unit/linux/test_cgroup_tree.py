"""Cgroups of both versions on trees of plain files: what is written where, what is read back, what is mounted."""

from __future__ import annotations

from pathlib import Path

import pytest

from orlop.linux import cgroup
from orlop.linux.cgroup.cgroup import UNLIMITED
from orlop.linux.cgroup.detect import CgroupHost, Hierarchy

PATH = "/orlop-0a1b2c/box"


def write(directory: Path, files: dict[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)


@pytest.fixture
def v1(tmp_path: Path) -> CgroupHost:
    names = (("cpu", "cpuacct"), ("memory",), ("freezer",), ("pids",), ("blkio",), ("name=systemd",))
    hierarchies = tuple(Hierarchy(name, str(tmp_path / ",".join(name).removeprefix("name="))) for name in names)
    for hierarchy in hierarchies:
        Path(hierarchy.mountpoint).mkdir()
    controllers = frozenset(controller for name in names for controller in name if "=" not in controller)
    return CgroupHost(1, controllers, hierarchies)


@pytest.fixture
def v2(tmp_path: Path) -> CgroupHost:
    return CgroupHost(2, frozenset(("cpu", "memory", "pids", "io")), unified=str(tmp_path))


def test_v1_usage_reads_every_controller(v1: CgroupHost, tmp_path: Path) -> None:
    write(
        tmp_path / f"cpu,cpuacct{PATH}",
        {
            "cpuacct.usage": "3000000000\n",
            "cpuacct.stat": "user 100\nsystem 50\n",
            "cpuacct.usage_percpu": "1000 2000 \n",
            "cpu.stat": "nr_periods 7\nnr_throttled 2\nthrottled_time 99\n",
        },
    )
    write(
        tmp_path / f"memory{PATH}",
        {
            "memory.usage_in_bytes": "4096\n",
            "memory.max_usage_in_bytes": "8192\n",
            "memory.limit_in_bytes": "65536\n",
            "memory.failcnt": "3\n",
            "memory.stat": "cache 1\ntotal_inactive_file 2\n",
        },
    )
    write(tmp_path / f"pids{PATH}", {"pids.current": "4\n", "pids.max": "max\n"})
    write(
        tmp_path / f"blkio{PATH}",
        {
            "blkio.bfq.io_serviced_recursive": "",
            "blkio.throttle.io_serviced_recursive": "254:0 Read 5\n254:0 Total 5\nTotal 5\n",
            "blkio.sectors_recursive": "254:0 12\n",
        },
    )
    usage = cgroup.open_cgroup(PATH, v1).usage()
    assert (usage.cpu_total, usage.cpu_user, usage.cpu_system) == (3 * 10**9, 10**9, 5 * 10**8)
    assert usage.per_cpu == [1000, 2000]
    assert usage.throttled == (7, 2, 99)
    assert (usage.memory_usage, usage.memory_max, usage.memory_limit, usage.memory_failcnt) == (4096, 8192, 65536, 3)
    assert usage.memory_stats == {"cache": 1, "total_inactive_file": 2}
    assert (usage.pids, usage.pids_limit) == (4, 0)
    assert usage.blkio == {
        "io_serviced_recursive": [
            {"major": 254, "minor": 0, "op": "Read", "value": 5},
            {"major": 254, "minor": 0, "op": "Total", "value": 5},
        ],
        "sectors_recursive": [{"major": 254, "minor": 0, "op": "", "value": 12}],
    }


def test_v2_usage_reads_every_controller(v2: CgroupHost, tmp_path: Path) -> None:
    write(
        tmp_path / PATH[1:],
        {
            "cpu.stat": "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 7\nnr_throttled 2\nthrottled_usec 5\n",
            "memory.current": "4096\n",
            "memory.max": "max\n",
            "memory.events": "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\n",
            "memory.stat": "anon 1\nfile 2\n",
            "pids.current": "4\n",
            "pids.max": "100\n",
            "io.stat": "254:0 rbytes=1 wbytes=2 rios=3 wios=4\n8:0 \n",
        },
    )
    box = cgroup.open_cgroup(PATH, v2)
    usage = box.usage()
    assert (usage.cpu_total, usage.cpu_user, usage.cpu_system) == (30_000, 20_000, 10_000)
    assert usage.throttled == (7, 2, 5000)
    assert (usage.memory_usage, usage.memory_limit, usage.memory_failcnt) == (4096, UNLIMITED, 3)
    assert usage.memory_stats == {"anon": 1, "file": 2}
    assert (usage.pids, usage.pids_limit) == (4, 100)
    entries = usage.blkio["io_service_bytes_recursive"]
    assert [(entry["op"], entry["value"]) for entry in entries if entry["major"] == 254] == [("read", 1), ("write", 2)]
    assert box.oom_kills() == 2


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_cgroup_that_is_gone_counts_nothing(version: str, request: pytest.FixtureRequest) -> None:
    box = cgroup.open_cgroup(PATH, request.getfixturevalue(version))
    usage = box.usage()
    assert (usage.cpu_total, usage.memory_usage, usage.pids, usage.blkio) == (0, 0, 0, {})
    assert box.processes() == []
    assert box.oom_kills() == 0
    assert not box.frozen()
    box.kill()
    box.remove()


def test_v1_oom_kills_below_count_too(v1: CgroupHost, tmp_path: Path) -> None:
    write(tmp_path / f"memory{PATH}", {"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"})
    write(tmp_path / f"memory{PATH}/child", {"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"})
    assert cgroup.open_cgroup(PATH, v1).oom_kills() == 3


def test_sweep_finds_the_children_of_every_hierarchy(v1: CgroupHost, tmp_path: Path) -> None:
    write(tmp_path / "memory/orlop-0a1b2c/one", {})
    write(tmp_path / "pids/orlop-0a1b2c/two", {"pids.max": "max"})
    assert cgroup.sweep("/orlop-0a1b2c", v1) == ["one", "two"]
    assert cgroup.sweep("/orlop-ffffff", v1) == []


def test_v1_shows_a_container_its_own_directories_and_links_for_mounts_with_two_controllers(
    v1: CgroupHost, tmp_path: Path
) -> None:
    mounts = cgroup.mounts_for_container(PATH, host=v1)
    assert mounts[0]["type"] == "tmpfs"
    assert mounts[-1]["type"] == "remount"
    binds = {mount["destination"]: mount["source"] for mount in mounts if mount["type"] == "bind"}
    assert binds["/sys/fs/cgroup/memory"] == str(tmp_path / "memory") + PATH
    assert "/sys/fs/cgroup/systemd" in binds
    links = {mount["destination"]: mount["source"] for mount in mounts if mount["type"] == "symlink"}
    assert links == {"/sys/fs/cgroup/cpu": "cpu,cpuacct", "/sys/fs/cgroup/cpuacct": "cpu,cpuacct"}
    writable = cgroup.mounts_for_container(PATH, host=v1, readonly=False)
    assert not any("ro" in mount.get("options", []) for mount in writable)


def test_v2_shows_a_container_its_own_cgroup_or_with_the_hosts_namespace_the_tree(
    v2: CgroupHost, tmp_path: Path
) -> None:
    (own,) = cgroup.mounts_for_container(PATH, host=v2)
    (whole,) = cgroup.mounts_for_container(PATH, host=v2, private=False)
    assert (own["source"], whole["source"]) == (str(tmp_path) + PATH, str(tmp_path))
    assert "ro" in own["options"]


def test_a_limit_whose_controller_is_missing_names_it(v1: CgroupHost, tmp_path: Path) -> None:
    box = cgroup.open_cgroup(PATH, v1)
    with pytest.raises(FileNotFoundError, match="cpuset is not mounted"):
        box.create({"cpu": {"cpus": "0"}})
    assert not (tmp_path / f"memory{PATH}").exists()


def test_v2_passes_controllers_down_to_where_the_limits_are(v2: CgroupHost, tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "orlop-0a1b2c"):
        write(directory, {"cgroup.controllers": "cpu memory misc\n", "cgroup.subtree_control": ""})
    with pytest.raises(OSError, match=r"cannot write"):  # plain directories do not grow the kernel's files
        cgroup.open_cgroup(PATH, v2).create({"pids": {"limit": 5}})
    for directory in (tmp_path, tmp_path / "orlop-0a1b2c"):
        # A plain file is overwritten from its start: the last one written stands.
        assert (directory / "cgroup.subtree_control").read_text().startswith("+memory")
    assert not (tmp_path / PATH[1:]).exists()
