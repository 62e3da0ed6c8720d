"""Cgroups in the real kernel, of whichever version this machine has."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orlop.linux import cgroup, mount, namespace
from orlop.linux.cgroup.cgroup import Cgroup
from orlop.linux.cgroup.v2.cgroup import CgroupV2
from orlop.runtime.devices import DEFAULT_RULES

MIB = 1 << 20
PARENT = f"/orlop-test{os.getpid()}"
SLEEP = ["sleep", "1000"]

pytestmark = pytest.mark.root


def wait_for(condition: Callable[[], object]) -> None:
    """Return when `condition` holds; the test's own time limit ends it if that never happens."""
    while not condition():
        time.sleep(0.005)


@pytest.fixture
def box() -> Iterator[Cgroup]:
    """A cgroup that does not exist yet; whatever is in it at the end is killed and removed."""
    group = cgroup.open_cgroup(f"{PARENT}/box")
    yield group
    group.kill()
    wait_for(lambda: not group.processes())
    parent = cgroup.open_cgroup(PARENT)
    parent.remove()
    assert not any(directory.exists() for directory in parent.directories())


@pytest.fixture
def spawn() -> Iterator[Callable[[Cgroup, list[str]], subprocess.Popen[bytes]]]:
    """Start a program in a cgroup."""
    started: list[subprocess.Popen[bytes]] = []

    def spawn(group: Cgroup, arguments: list[str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(arguments, preexec_fn=lambda: group.join(0), stdout=subprocess.PIPE)
        started.append(process)
        return process

    yield spawn
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def value(group: Cgroup, *names: str) -> str:
    """Return the text of the first of the named files that the cgroup has."""
    for directory in group.directories():
        for name in names:
            if (directory / name).exists():
                return (directory / name).read_text().strip()
    raise AssertionError(f"no {names}")


def test_a_cgroup_can_be_joined_whose_parent_somebody_else_is_just_making(
    box: Cgroup, spawn: Callable[[Cgroup, list[str]], subprocess.Popen[bytes]]
) -> None:
    for directory in box.directories():
        directory.parent.mkdir()  # on v1 without processors yet
    box.create({})
    process = spawn(box, SLEEP)
    assert process.pid in box.processes()


def v1() -> bool:
    return cgroup.detect().version == 1


def test_limits_are_there_before_anyone_joins(box: Cgroup) -> None:
    box.create(
        {
            "memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB},
            "cpu": {"shares": 1024, "quota": 50_000, "period": 100_000, "cpus": "0"},
            "pids": {"limit": 20},
        }
    )
    assert value(box, "memory.limit_in_bytes", "memory.max") == str(64 * MIB)
    assert value(box, "memory.soft_limit_in_bytes", "memory.low") == str(32 * MIB)
    assert value(box, "pids.max") == "20"
    assert value(box, "cpuset.cpus") == "0"
    if v1():
        assert value(box, "cpu.cfs_quota_us") == "50000"
        assert value(box, "memory.memsw.limit_in_bytes") == str(96 * MIB)
    else:
        assert value(box, "cpu.max") == "50000 100000"
        assert value(box, "cpu.weight") == "100"
        assert value(box, "memory.swap.max") == str(32 * MIB)
    assert box.processes() == []


def test_limits_change_in_both_directions(box: Cgroup) -> None:
    box.create({"memory": {"limit": 64 * MIB, "swap": 128 * MIB}, "cpu": {"quota": 50_000, "period": 100_000}})
    for size in (256, 16, 512):
        box.update({"memory": {"limit": size * MIB, "swap": size * MIB}, "cpu": {"quota": 2000, "period": size * 100}})
        assert value(box, "memory.limit_in_bytes", "memory.max") == str(size * MIB)
    box.update({"memory": {"limit": 600 * MIB, "swap": -1}, "pids": {"limit": -1}})
    assert value(box, "pids.max") == "max"


def test_processes_are_born_where_their_parent_is(
    box: Cgroup, spawn: Callable[[Cgroup, list[str]], subprocess.Popen[bytes]]
) -> None:
    box.create({})
    process = spawn(box, ["sh", "-c", "sleep 1000 & wait"])
    wait_for(lambda: len(box.processes()) == 2)
    assert process.pid in box.processes()
    box.kill()
    assert process.wait() == -signal.SIGKILL
    wait_for(lambda: not box.processes())
    box.remove()
    assert not any(directory.exists() for directory in box.directories())


def test_joining_with_a_process_that_has_ended_says_so(box: Cgroup) -> None:
    box.create({})
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(ProcessLookupError):
        box.join(process.pid)


def test_a_frozen_cgroup_stands_still_and_can_still_be_killed(
    box: Cgroup, spawn: Callable[[Cgroup, list[str]], subprocess.Popen[bytes]]
) -> None:
    box.create({})
    process = spawn(box, SLEEP)
    box.freeze()
    assert box.frozen()
    box.thaw()
    assert not box.frozen()
    box.freeze()
    box.kill()
    assert process.wait() == -signal.SIGKILL
    assert not box.frozen()


def test_nobody_escapes_a_kill_by_forking(
    box: Cgroup, spawn: Callable[[Cgroup, list[str]], subprocess.Popen[bytes]]
) -> None:
    box.create({"pids": {"limit": 50}})
    # Each one starts its successor and ends: there is always one, and never the same one for long.
    process = spawn(box, ["sh", "-c", "f() { (f) & (f) & wait; }; f 2>/dev/null"])
    wait_for(lambda: len(box.processes()) > 20)
    box.kill()
    process.wait()
    wait_for(lambda: not box.processes())


def test_removing_takes_what_was_made_inside_along(box: Cgroup) -> None:
    box.create({})
    for directory in box.directories():
        (directory / "inner" / "most").mkdir(parents=True)
    assert cgroup.sweep(PARENT) == ["box"]
    box.remove()
    assert cgroup.sweep(PARENT) == []


def test_a_cgroup_in_use_is_neither_removed_nor_made_anew(
    box: Cgroup, spawn: Callable[[Cgroup, list[str]], subprocess.Popen[bytes]]
) -> None:
    box.create({"pids": {"limit": 7}})
    process = spawn(box, SLEEP)
    for action in (box.remove, lambda: box.create({})):
        with pytest.raises(OSError, match="busy") as raised:
            action()
        assert raised.value.errno == errno.EBUSY
    assert process.pid in box.processes()


def test_what_a_dead_daemon_left_is_replaced(box: Cgroup) -> None:
    box.create({"pids": {"limit": 7}})
    box.create({})
    assert value(box, "pids.max") == "max"


def test_a_create_that_fails_leaves_nothing(box: Cgroup) -> None:
    with pytest.raises(OSError, match="cannot write 'nonsense'") as raised:
        box.create({"cpu": {"cpus": "nonsense"}})
    assert raised.value.errno == errno.EINVAL
    assert "cpuset.cpus" in str(raised.value.filename)
    assert not any(directory.exists() for directory in box.directories())


def test_more_tasks_than_allowed_are_refused(
    box: Cgroup, spawn: Callable[[Cgroup, list[str]], subprocess.Popen[bytes]]
) -> None:
    box.create({"pids": {"limit": 2}})
    process = spawn(box, ["sh", "-c", "sleep 0 & sleep 0 & sleep 0 & wait"])
    assert process.wait() != 0


def test_running_out_of_memory_is_counted_and_told(
    box: Cgroup, spawn: Callable[[Cgroup, list[str]], subprocess.Popen[bytes]]
) -> None:
    box.create({"memory": {"limit": 32 * MIB, "swap": 32 * MIB}})
    watch = box.watch_oom()
    try:
        epoll = select.epoll()
        with epoll:
            epoll.register(watch.descriptor, watch.events)
            process = spawn(box, ["python3", "-I", "-S", "-c", "bytearray(b'x') * (200 << 20)"])
            assert process.wait() == -signal.SIGKILL
            assert epoll.poll(10)
    finally:
        os.close(watch.descriptor)
    assert box.oom_kills() == 1


def test_usage_counts_what_was_done(box: Cgroup, spawn: Callable[[Cgroup, list[str]], subprocess.Popen[bytes]]) -> None:
    box.create({"memory": {"limit": 64 * MIB, "swap": 64 * MIB}, "pids": {"limit": 9}})
    process = spawn(box, ["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo; sleep 1000"])
    assert process.stdout is not None
    process.stdout.readline()
    usage = box.usage()
    assert usage.cpu_total > 0
    assert usage.memory_usage > 0
    assert usage.memory_limit == 64 * MIB
    assert usage.pids in (1, 2)  # the shell, and sleep perhaps
    assert usage.pids_limit == 9
    assert usage.memory_stats


ATTEMPTS = """
import os
for path, flags in (("/dev/null", os.O_RDWR), ("/dev/zero", os.O_RDONLY), ("/dev/kmsg", os.O_RDONLY)):
    try:
        os.close(os.open(path, flags))
        print(path, "opened")
    except PermissionError:
        print(path, "refused")
"""


def devices_seen(group: Cgroup) -> list[str]:
    python = ["python3", "-I", "-S", "-c", ATTEMPTS]
    done = subprocess.run(python, preexec_fn=lambda: group.join(0), stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout.splitlines()


def test_devices_are_those_of_the_rules(box: Cgroup) -> None:
    box.create({"devices": list(DEFAULT_RULES)})
    assert devices_seen(box) == ["/dev/null opened", "/dev/zero opened", "/dev/kmsg refused"]


def test_a_privileged_container_has_all_devices(box: Cgroup) -> None:
    box.create({"devices": [{"allow": True, "access": "rwm"}]})
    assert devices_seen(box)[-1] == "/dev/kmsg opened"


def test_device_programs_work_beside_v1(tmp_path: Path) -> None:
    host = cgroup.detect()
    if host.version != 1 or not host.unified:
        pytest.skip("needs a cgroup2 mount beside v1")
    beside = cgroup.CgroupHost(2, frozenset(("devices", "freezer")), unified=host.unified)
    group = CgroupV2(beside, f"{PARENT}/beside")
    try:
        group.create({"devices": list(DEFAULT_RULES)})
        assert devices_seen(group) == ["/dev/null opened", "/dev/zero opened", "/dev/kmsg refused"]
    finally:
        cgroup.open_cgroup(PARENT, beside).remove()


def test_a_daemon_inside_a_cgroup_namespace_makes_room_for_its_containers(box: Cgroup, tmp_path: Path) -> None:
    if v1():
        pytest.skip("needs cgroup v2")
    box.create({})
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            box.join(0)
            namespace.unshare(namespace.CLONE_NEWCGROUP | namespace.CLONE_NEWNS)
            mount.set_propagation("/", mount.MS_REC | mount.MS_PRIVATE)
            mount.mount("cgroup2", str(tmp_path), "cgroup2")
            inside = cgroup.CgroupHost(2, cgroup.detect().controllers, unified=str(tmp_path))
            inner = cgroup.open_cgroup("/orlop/box", inside)
            inner.create({"pids": {"limit": 5}})
            moved = Path("/proc/self/cgroup").read_text() == "0::/init\n"
            status = 0 if moved and value(inner, "pids.max") == "5" else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
