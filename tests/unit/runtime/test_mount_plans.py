"""The mounts of a container: which, in which order, with which options."""

from __future__ import annotations

from typing import Any

import pytest

from orlop.errors import InvalidArgument
from orlop.model.api.container import ContainerConfig, HostConfig
from orlop.model.record import ContainerRecord, MountRecord
from orlop.runtime import mounts

STANDARD = ["/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"]
FILES = {f"/etc/{name}": f"/host/{name}" for name in ("hosts", "hostname", "resolv.conf")}


def bind(destination: str, **fields: Any) -> MountRecord:
    return MountRecord(type="bind", source="/src", destination=destination, **fields)


def record(*asked: MountRecord, **host: Any) -> ContainerRecord:
    return ContainerRecord(
        id="c" * 64,
        name="box",
        created_at=0,
        image_id="",
        config=ContainerConfig(),
        host_config=HostConfig(**host),
        mounts=asked,
    )


def plan(container: ContainerRecord, **rest: Any) -> dict[str, dict[str, Any]]:
    planned = mounts.plan(container, files=FILES, **rest)
    found = {mount["destination"]: mount for mount in planned}
    assert len(found) == len(planned)
    return found


def test_standard_mounts_come_first_then_the_users_by_depth() -> None:
    asked = record(bind("/a/b/c"), bind("/z"), MountRecord(type="tmpfs", destination="/a/b"), tmpfs={"/run": ""})
    order = list(plan(asked, init="/usr/bin/tini"))
    assert order[:7] == STANDARD
    assert order[-1] == "/sbin/docker-init"
    chosen = order[7:-1]
    assert chosen == sorted(chosen, key=lambda path: path.count("/"))
    assert chosen.index("/a/b") < chosen.index("/a/b/c")
    assert set(chosen) == {"/a/b", "/a/b/c", "/z", "/run", *FILES}


def test_a_mount_of_the_users_replaces_a_standard_one() -> None:
    asked = record(bind("/dev/shm"), bind("/sys/fs/cgroup"), bind("/etc/hosts"), bind("/dev/mqueue/"))
    found = plan(asked)
    for destination in ("/dev/shm", "/sys/fs/cgroup", "/etc/hosts", "/dev/mqueue"):
        assert found[destination]["source"] == "/src"
        assert found[destination]["type"] == "bind"


def test_a_mount_on_dev_replaces_all_below_it() -> None:
    found = plan(record(bind("/dev")))
    assert [path for path in found if path.startswith("/dev")] == ["/dev"]


def test_shared_memory_is_as_large_as_asked_or_anothers_or_none() -> None:
    assert "size=67108864" in plan(record())["/dev/shm"]["options"]
    assert "size=4096" in plan(record(shm_size=4096))["/dev/shm"]["options"]
    assert plan(record(ipc_mode="host"), shm="/dev/shm")["/dev/shm"]["options"] == ["rbind", "rprivate"]
    assert "/dev/shm" not in plan(record(ipc_mode="none"))


@pytest.mark.parametrize(
    ("mount", "options"),
    [
        (bind("/x"), ["rbind", "rprivate"]),
        (bind("/x", options=("bind",), propagation="rslave"), ["bind", "rslave"]),
        (bind("/x", rw=False), ["rbind", "rro", "rprivate"]),
        (bind("/x", rw=False, options=("rbind", "ro-non-recursive")), ["rbind", "ro", "rprivate"]),
        (bind("/x", rw=False, options=("bind",)), ["bind", "ro", "rprivate"]),
        (
            MountRecord(type="tmpfs", destination="/x", options=("size=1m,exec",), rw=False),
            ["nosuid", "nodev", "rprivate", "size=1m", "exec", "ro"],
        ),
    ],
)
def test_options_follow_from_what_was_asked(mount: MountRecord, options: list[str]) -> None:
    assert plan(record(mount))["/x"]["options"] == options


def test_an_older_kernel_makes_only_the_top_read_only_and_says_so_when_that_is_not_enough() -> None:
    assert "ro" in plan(record(bind("/x", rw=False)), recursive_readonly=False)["/x"]["options"]
    forced = record(bind("/x", rw=False, options=("rbind", "ro-force-recursive")))
    with pytest.raises(InvalidArgument, match="does not support recursive"):
        plan(forced, recursive_readonly=False)


def test_a_read_only_root_leaves_the_kernels_own_and_the_users_mounts_writable() -> None:
    found = plan(record(bind("/data"), readonly_rootfs=True))
    read_only = {path for path, mount in found.items() if "ro" in mount["options"]}
    assert read_only == {"/sys", "/sys/fs/cgroup", *FILES}


def test_a_privileged_container_writes_to_sys_and_cgroups() -> None:
    found = plan(record(privileged=True))
    assert "ro" not in found["/sys"]["options"]
    assert "ro" not in found["/sys/fs/cgroup"]["options"]
    only_cgroups = plan(record(), writable_cgroups=True)
    assert "ro" in only_cgroups["/sys"]["options"]
    assert "ro" not in only_cgroups["/sys/fs/cgroup"]["options"]


@pytest.mark.parametrize(
    ("tmpfs", "message"),
    [
        ({"run": ""}, "invalid mount path: 'run' mount path must be absolute"),
        ({"/": ""}, "invalid specification: destination can't be '/'"),
        ({"/a/..": ""}, "invalid specification: destination can't be '/'"),
        ({"/run": "bogus"}, 'invalid tmpfs option ["bogus"]'),
    ],
)
def test_a_tmpfs_that_cannot_be_is_refused(tmpfs: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        mounts.check(HostConfig(tmpfs=tmpfs))
    assert raised.value.message == message


MOUNTINFO = """\
20 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
30 20 8:2 / /src rw master:1 - ext4 /dev/sdb1 rw
31 20 8:3 / /srcs rw shared:7 - ext4 /dev/sdc1 rw
"""


def test_the_root_propagates_as_much_as_its_mounts_ask_for() -> None:
    def wanted(*propagations: str) -> str:
        return mounts.rootfs_propagation(tuple(bind("/x", propagation=word) for word in propagations))

    assert wanted() == wanted("rprivate", "") == "rprivate"
    assert wanted("rslave") == "rslave"
    assert wanted("rshared", "rslave") == wanted("slave", "shared") == "shared"


def test_a_source_that_does_not_propagate_is_refused_in_dockerds_words() -> None:
    mounts.rootfs_propagation((bind("/x", propagation="rslave"),), lambda: MOUNTINFO)
    with pytest.raises(InvalidArgument) as raised:
        mounts.rootfs_propagation((bind("/x", propagation="rshared"),), lambda: MOUNTINFO)
    assert raised.value.message == "path /src is mounted on /src but it is not a shared mount"
    hidden = MOUNTINFO + "32 30 0:50 / /src rw - tmpfs tmpfs rw\n"
    with pytest.raises(InvalidArgument) as raised:
        mounts.rootfs_propagation((bind("/x", propagation="slave"),), lambda: hidden)
    assert raised.value.message == "path /src is mounted on /src but it is not a shared or slave mount"
