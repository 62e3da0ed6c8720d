"""Which cgroup version a machine has, from its mounts."""

from __future__ import annotations

from orlop.linux.cgroup.detect import Hierarchy, parse_mounts

V1 = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
"""


def test_hierarchies_are_found_with_their_controllers_and_names() -> None:
    hierarchies, unified = parse_mounts(V1)
    assert hierarchies == (
        Hierarchy(("cpu", "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct"),
        Hierarchy(("memory",), "/sys/fs/cgroup/memory"),
        Hierarchy(("name=systemd",), "/sys/fs/cgroup/systemd"),
    )
    assert unified == "/sys/fs/cgroup/unified"


def test_a_hierarchy_seen_from_its_root_wins_over_a_part_of_it() -> None:
    part = "90 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    whole = "91 31 0:32 / /mnt/the\\040memory rw - cgroup cgroup rw,memory\n"
    assert parse_mounts(part + whole)[0] == (Hierarchy(("memory",), "/mnt/the memory"),)
    assert parse_mounts(whole + part)[0] == (Hierarchy(("memory",), "/mnt/the memory"),)


def test_a_v2_machine_has_no_hierarchies() -> None:
    line = "25 24 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
    assert parse_mounts(line) == ((), "/sys/fs/cgroup")


def test_other_mounts_and_broken_lines_are_passed_over() -> None:
    assert parse_mounts("1 2 3\n\n20 1 8:1 / / rw - ext4 /dev/sda1 rw,cpu\n") == ((), "")
