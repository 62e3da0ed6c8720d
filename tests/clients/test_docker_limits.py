"""Limits, devices and privileges as the real docker CLI asks for them, looked at from inside the container."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from orlop.linux import capability, cgroup

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.usefixtures("image")]

Docker = Callable[..., CompletedProcess[str]]

MIB = 1 << 20


@pytest.fixture
def inside(docker: Docker) -> Callable[..., str]:
    """Run a shell script in a new container; return what it printed."""

    def run(script: str, *options: str) -> str:
        return docker("run", "--rm", *options, "busybox", "sh", "-c", script).stdout.strip()

    return run


def status(inside: Callable[..., str], *options: str) -> dict[str, str]:
    text = inside("cat /proc/self/status", *options)
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def file(v1: str, v2: str) -> str:
    """Return the path of a cgroup's file as a container sees it."""
    return f"/sys/fs/cgroup/{v1 if cgroup.detect().version == 1 else v2}"


@pytest.mark.parametrize(
    ("options", "path", "value"),
    [
        (["-m", "64m"], file("memory/memory.limit_in_bytes", "memory.max"), str(64 * MIB)),
        (["-m", "64m"], file("memory/memory.memsw.limit_in_bytes", "memory.swap.max"), None),
        (["--pids-limit", "20"], file("pids/pids.max", "pids.max"), "20"),
        (["--cpuset-cpus", "0"], file("cpuset/cpuset.cpus", "cpuset.cpus"), "0"),
        (["--cpus", "0.5"], file("cpu/cpu.cfs_quota_us", "cpu.max"), None),
        (["--cpu-shares", "1024"], file("cpu/cpu.shares", "cpu.weight"), None),
        (["--memory-reservation", "32m"], file("memory/memory.soft_limit_in_bytes", "memory.low"), str(32 * MIB)),
    ],
)
def test_limits_are_those_of_the_cgroup_inside(
    inside: Callable[..., str], options: list[str], path: str, value: str | None
) -> None:
    one = cgroup.detect().version == 1
    derived = {
        "-m": str(128 * MIB) if one else str(64 * MIB),
        "--cpus": "50000" if one else "50000 100000",
        "--cpu-shares": "1024" if one else "100",
    }
    assert inside(f"cat {path}", *options) == (value or derived[options[0]])


def test_cgroups_inside_are_the_containers_own_and_read_only(inside: Callable[..., str]) -> None:
    assert inside(f"cat {file('pids/cgroup.procs', 'cgroup.procs')} | wc -l") != "0"
    script = f"mkdir {file('pids/x', 'x')} 2>&1 || true; echo 1 > {file('pids/pids.max', 'pids.max')}"
    assert inside(f"({script}) 2>&1 | grep -c 'Read-only'") == "2"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], capability.DEFAULT),
        (["--cap-drop", "ALL", "--cap-add", "chown"], {"CAP_CHOWN"}),
        (["--cap-add", "NET_ADMIN"], capability.DEFAULT | {"CAP_NET_ADMIN"}),
        (["--privileged"], set(capability.NAMES)),
    ],
)
def test_capabilities_are_as_asked_as_far_as_the_daemon_has_them(
    inside: Callable[..., str], options: list[str], expected: set[str]
) -> None:
    found = status(inside, *options)
    granted = expected & capability.bounding()
    for name in ("CapBnd", "CapPrm", "CapEff"):
        assert capability.names(int(found[name], 16)) == granted
    assert int(found["CapAmb"], 16) == int(found["CapInh"], 16) == 0


def test_another_user_has_no_capability_but_the_bounding_set(inside: Callable[..., str]) -> None:
    found = status(inside, "-u", "1000:1000", "--group-add", "7")
    assert (found["Uid"].split(), found["Gid"].split()) == (["1000"] * 4, ["1000"] * 4)
    assert "7" in found["Groups"].split()
    assert int(found["CapEff"], 16) == int(found["CapPrm"], 16) == 0
    assert capability.names(int(found["CapBnd"], 16)) == capability.DEFAULT & capability.bounding()


def test_seccomp_filters_unless_told_otherwise(inside: Callable[..., str], tmp_path: Path) -> None:
    assert status(inside)["Seccomp"] == "2"
    assert status(inside, "--security-opt", "seccomp=unconfined")["Seccomp"] == "0"
    assert status(inside, "--privileged")["Seccomp"] == "0"
    profile = tmp_path / "profile.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    answer = inside("mkdir /x 2>&1 || true", "--security-opt", f"seccomp={profile}")
    assert "No space left on device" in answer
    own = inside("mount -t tmpfs none /tmp 2>&1 || true; unshare -U true 2>&1 || true")
    assert own.count("Operation not permitted") + own.count("permission denied") == 2


def test_no_new_privileges_is_set_on_request(inside: Callable[..., str]) -> None:
    assert status(inside)["NoNewPrivs"] == "0"
    assert status(inside, "--security-opt", "no-new-privileges")["NoNewPrivs"] == "1"
    assert status(inside, "--security-opt", "no-new-privileges", "--cap-drop", "ALL", "-u", "1")["Seccomp"] == "2"


def test_a_seccomp_profile_that_is_none_is_refused(docker: Docker, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"defaultAction": 7}')
    done = docker("run", "--rm", "--security-opt", f"seccomp={broken}", "busybox", "true", check=False)
    assert done.returncode == 125
    assert "Decoding seccomp profile failed" in done.stderr


def test_devices_are_those_asked_for(inside: Callable[..., str], docker: Docker) -> None:
    assert inside("ls /dev/kmsg 2>&1 || true").endswith("No such file or directory")
    assert inside("ls -l /dev/log0; head -c1 /dev/log0 >/dev/null && echo read", "--device", "/dev/full:/dev/log0:r")
    refused = inside("(echo x > /dev/log0) 2>&1 || true", "--device", "/dev/kmsg:/dev/log0:r")
    assert "Operation not permitted" in refused
    # A node can be made; opening it needs the rule, whether or not there is such a device.
    script = "mknod /x c 10 183 && (head -c0 /x) 2>&1 || true"
    assert "Operation not permitted" in inside(script)
    assert "Operation not permitted" not in inside(script, "--device-cgroup-rule", "c 10:183 r")
    done = docker("run", "--rm", "--device", "/dev/none", "busybox", "true", check=False)
    assert done.returncode == 127  # as the CLI reads "no such file" in any message
    assert (
        'error gathering device information while adding custom device "/dev/none": no such file or directory'
        in done.stderr
    )


def test_gpus_are_refused_in_dockers_words(docker: Docker) -> None:
    done = docker("run", "--rm", "--gpus", "all", "busybox", "true", check=False)
    assert done.returncode == 125
    assert 'could not select device driver "" with capabilities: [[gpu]]' in done.stderr


def test_a_privileged_container_starts_with_all_devices_and_writable_trees(inside: Callable[..., str]) -> None:
    assert inside("test -c /dev/kmsg && echo there", "--privileged") == "there"
    assert inside("grep -c ' /sys sysfs rw' /proc/mounts", "--privileged") == "1"
    assert inside("grep -c ' /sys sysfs ro' /proc/mounts") == "1"


def test_limits_of_processes_and_kernel_parameters(inside: Callable[..., str]) -> None:
    assert inside("ulimit -n; ulimit -Hn", "--ulimit", "nofile=100:200").split() == ["100", "200"]
    assert inside("cat /proc/sys/net/core/somaxconn", "--sysctl", "net.core.somaxconn=77") == "77"
    assert inside("cat /proc/sys/net/ipv4/ip_unprivileged_port_start") == "0"
    assert inside("cat /proc/self/oom_score_adj", "--oom-score-adj", "500") == "500"
    assert inside("df -k /dev/shm | tail -1 | awk '{print $2}'", "--shm-size", "8m") == "8192"


def test_memory_file_systems_have_the_options_asked_for(inside: Callable[..., str]) -> None:
    line = inside("grep ' /scratch ' /proc/mounts", "--tmpfs", "/scratch:size=1m,exec,mode=700")
    assert "size=1024k" in line
    assert "mode=700" in line
    assert "nosuid" in line
    assert "noexec" not in line
    read_only = inside("(echo x > /x) 2>&1; echo y > /tmp/y && cat /tmp/y", "--read-only", "--tmpfs", "/tmp")
    assert read_only.endswith("Read-only file system\ny")


def test_namespaces_of_the_host_and_of_others_are_joined(inside: Callable[..., str], docker: Docker) -> None:
    def mine(kind: str) -> str:
        return str(Path(f"/proc/self/ns/{kind}").readlink())

    assert inside("readlink /proc/self/ns/uts", "--uts", "host") == mine("uts")
    assert inside("readlink /proc/self/ns/ipc", "--ipc", "host") == mine("ipc")
    assert inside("readlink /proc/self/ns/pid", "--pid", "host") == mine("pid")
    assert inside("readlink /proc/self/ns/cgroup", "--cgroupns", "host") == mine("cgroup")
    assert inside("readlink /proc/self/ns/cgroup", "--cgroupns", "private") != mine("cgroup")
    docker("run", "-d", "--name", "first", "busybox", "sleep", "99")
    try:
        assert inside("echo $$", "--pid", "container:first") != "1"
    finally:
        docker("rm", "-f", "first")


def test_shared_memory_of_another_container_is_shared(inside: Callable[..., str], docker: Docker) -> None:
    docker("run", "-d", "--name", "keeper", "--ipc", "shareable", "busybox", "sh", "-c", "echo hi>/dev/shm/x; sleep 99")
    try:
        assert inside("cat /dev/shm/x", "--ipc", "container:keeper") == "hi"
    finally:
        docker("rm", "-f", "keeper")


def test_an_init_reaps_and_passes_the_status_on(docker: Docker) -> None:
    done = docker("run", "--rm", "--init", "busybox", "sh", "-c", "cat /proc/1/comm; exit 3", check=False)
    if "needs a static init" in done.stderr:
        pytest.skip("needs tini-static or catatonit on the host")
    assert done.returncode == 3
    assert done.stdout.strip() in ("docker-init", "tini", "catatonit")


def test_a_limit_changed_while_it_runs_holds_at_once(docker: Docker) -> None:
    docker("run", "-d", "--name", "changing", "-m", "64m", "busybox", "sleep", "99")
    try:
        docker("update", "-m", "128m", "--memory-swap", "256m", "--pids-limit", "30", "--cpus", "1", "changing")
        limit = file("memory/memory.limit_in_bytes", "memory.max")
        found = docker("exec", "changing", "cat", limit, file("pids/pids.max", "pids.max")).stdout.split()
        assert found == [str(128 * MIB), "30"]
        refused = docker("update", "-m", "512m", "changing", check=False)
        assert "Memory limit should be smaller than already set memoryswap limit" in refused.stderr
    finally:
        docker("rm", "-f", "changing")


def test_a_cgroup_parent_is_where_the_container_is(docker: Docker) -> None:
    parent = "/orlop-test-parent"
    docker("run", "-d", "--name", "child", "--cgroup-parent", parent, "busybox", "sleep", "99")
    try:
        pid = docker("inspect", "-f", "{{.State.Pid}}", "child").stdout.strip()
        assert f":{parent}/" in Path(f"/proc/{pid}/cgroup").read_text()
    finally:
        docker("rm", "-f", "child")
        cgroup.open_cgroup(parent).remove()
