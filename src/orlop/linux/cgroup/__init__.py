"""cgroups (cgroups(7)), version 1 and 2 behind one door.

>>> cgroup = open_cgroup("/orlop-0a1b2c/<id>")          # doctest: +SKIP
>>> cgroup.create({"memory": {"limit": 64 << 20}})      # doctest: +SKIP
>>> cgroup.join(pid)                                    # doctest: +SKIP

`Cgroup` tells the life cycle; `detect` which version this machine has. Nothing here waits longer than two seconds.
"""

from __future__ import annotations

from orlop.linux.cgroup import tree
from orlop.linux.cgroup.cgroup import Cgroup, CgroupUsage, Mount, OomWatch
from orlop.linux.cgroup.detect import CgroupHost, Hierarchy, detect
from orlop.linux.cgroup.v1.cgroup import CgroupV1
from orlop.linux.cgroup.v2.cgroup import CgroupV2

__all__ = [
    "Cgroup",
    "CgroupHost",
    "CgroupUsage",
    "Hierarchy",
    "Mount",
    "OomWatch",
    "detect",
    "mounts_for_container",
    "open_cgroup",
    "sweep",
]


def open_cgroup(path: str, host: CgroupHost | None = None) -> Cgroup:
    """Return the cgroup at `path` (from the root of the hierarchy), which need not exist yet.

    Raises `ValueError` for a path that is none.
    """
    host = host or detect()
    return CgroupV1(host, path) if host.version == 1 else CgroupV2(host, path)


def sweep(parent: str, host: CgroupHost | None = None) -> list[str]:
    """Return the names of the cgroups right below `parent`, in any hierarchy: what a dead daemon may have left."""
    cgroup = open_cgroup(parent, host)
    return sorted({name for directory in cgroup.directories() for name in tree.children(str(directory))})


def mounts_for_container(
    path: str,
    *,
    private: bool = True,
    readonly: bool = True,
    destination: str = "/sys/fs/cgroup",
    host: CgroupHost | None = None,
) -> list[Mount]:
    """Plan what a container sees at `destination`, as OCI mounts in their order.

    Sources are host paths, so they are mounted before the container leaves the host's root; the cgroup must exist.
    A bind mount of a cgroup's own directory is, seen from a cgroup namespace rooted there, the same as a new mount
    in it: neither needs to wait for the other. Two types are not mount(2)'s: ``symlink`` (`source` is its text) and
    ``remount`` (options change on what is mounted). With the host's namespace (not `private`) v2 shows the whole
    tree, and v1 the container's own directories, as runc does.
    """
    return open_cgroup(path, host).mounts(destination, private=private, readonly=readonly)
