"""A cgroup on v1: a directory of the same path in every hierarchy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from orlop.linux.cgroup import tree
from orlop.linux.cgroup.cgroup import Cgroup, CgroupUsage, Mount, OomWatch
from orlop.linux.cgroup.detect import CgroupHost
from orlop.linux.cgroup.files import Resources, Write, open_all, perform
from orlop.linux.cgroup.v1 import blkio, cpu, cpuset, devices, freezer, memory, pids

__all__ = ["CgroupV1"]


class CgroupV1(Cgroup):
    """See `Cgroup`."""

    def __init__(self, host: CgroupHost, path: str) -> None:
        super().__init__(path)
        self._host = host

    def directories(self) -> list[Path]:
        return [Path(root + self.path) for root in self._roots()]

    def create(self, resources: Resources) -> None:
        try:
            for root in self._roots():
                _make(root, self.path, fill_cpuset=root == self._host.root("cpuset"))
            self._write(resources, fresh=True)
        except OSError:
            self._undo()
            raise

    def join(self, pid: int) -> None:
        # A thread that moves itself needs no lock on all thread groups, which takes an RCU grace period (7 ms).
        file = "cgroup.procs" if pid else "tasks"
        for root in self._roots():
            perform(root + self.path, [Write(file, str(pid))])

    def entrances(self) -> list[int]:
        return open_all(root + self.path + "/tasks" for root in self._roots())

    def update(self, resources: Resources) -> None:
        self._write(resources, fresh=False)

    def freeze(self) -> None:
        freezer.freeze(self._directory("freezer"))

    def thaw(self) -> None:
        perform(self._directory("freezer"), freezer.plan(freezer.THAWED))

    def frozen(self) -> bool:
        return freezer.state(self._directory("freezer")) not in ("", freezer.THAWED)

    def kill(self) -> None:
        directory = self._directory("freezer")
        if not freezer.state(directory):
            return
        # While they stand still none can fork away from its signal; one that will not stand still is signalled too.
        try:
            freezer.freeze(directory)
        except TimeoutError:
            tree.signal_all(directory)
        tree.signal_all(directory)
        # A cgroup below may have been frozen on its own, by whoever runs in the container.
        for cgroup in tree.walk(directory):
            perform(cgroup, freezer.plan(freezer.THAWED))

    def oom_kills(self) -> int:
        return memory.oom_kills(self._directory("memory"))

    def watch_oom(self) -> OomWatch:
        return memory.watch_oom(self._directory("memory"))

    def usage(self) -> CgroupUsage:
        usage = CgroupUsage()
        cpu.usage(self._directory("cpu"), self._directory("cpuacct"), usage)
        memory.usage(self._directory("memory"), usage)
        pids.usage(self._directory("pids"), usage)
        blkio.usage(self._directory("blkio"), usage)
        return usage

    def mounts(self, destination: str, *, private: bool, readonly: bool) -> list[Mount]:
        flags = ["nosuid", "noexec", "nodev"]
        access = ["ro"] if readonly else []
        mounts: list[Mount] = [
            {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": [*flags, "mode=755"]}
        ]
        for hierarchy in self._host.hierarchies:
            name = os.path.basename(hierarchy.mountpoint)
            source = hierarchy.mountpoint + self.path
            options = ["bind", *flags, *access]
            mounts.append(
                {"destination": f"{destination}/{name}", "type": "bind", "source": source, "options": options}
            )
            for controller in hierarchy.controllers:
                if controller != name and "=" not in controller:
                    link: Mount = {"destination": f"{destination}/{controller}", "type": "symlink", "source": name}
                    mounts.append(link)
        if readonly:
            mounts.append({"destination": destination, "type": "remount", "options": [*flags, "ro"]})
        return mounts

    def _members(self) -> str:
        return self._directory("freezer")

    def _roots(self) -> list[str]:
        """Return the hierarchies that count. A cgroup2 mount beside them has no limits and cannot be joined quickly."""
        return [hierarchy.mountpoint for hierarchy in self._host.hierarchies]

    def _directory(self, controller: str) -> str:
        root = self._host.root(controller)
        if not root:
            raise FileNotFoundError(errno.ENOENT, f"the cgroup controller {controller} is not mounted")
        return root + self.path

    def _write(self, resources: Resources, *, fresh: bool) -> None:
        """Plan and perform; a fresh cgroup has no limits and takes device rules."""

        def exists(controller: str, file: str) -> bool:
            return os.access(f"{self._host.root(controller)}{self.path}/{file}", os.F_OK)

        limits = memory.UNSET if fresh else memory.current(self._directory("memory"))
        period = cpu.DEFAULT_PERIOD if fresh else cpu.current_period(self._directory("cpu"))
        plans = {
            "cpuset": cpuset.plan(resources),
            "devices": devices.plan(resources) if fresh else [],
            "memory": memory.plan(resources, lambda file: exists("memory", file), limits),
            "cpu": cpu.plan(resources, period),
            "pids": pids.plan(resources),
            "blkio": blkio.plan(resources, lambda file: exists("blkio", file)),
        }
        for controller, writes in plans.items():
            if writes:
                perform(self._directory(controller), writes)

    def _undo(self) -> None:
        """Remove what an unfinished `create` made; the error that ended it is the one to tell."""
        for directory in self.directories():
            try:
                tree.remove(str(directory), attempts=1)
            except OSError:
                continue


def _make(root: str, path: str, *, fill_cpuset: bool) -> None:
    """Make the directory of `path` below `root` afresh, and those above it that are missing.

    The last one is tried first: looking at what is there already can wait milliseconds for others that remove.
    """
    directory = root + path
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        tree.remove(directory)
        os.mkdir(directory, 0o755)
    except FileNotFoundError:
        parent = path.rpartition("/")[0]
        if not parent:
            raise
        _make_parent(root, parent, fill_cpuset=fill_cpuset)
        os.mkdir(directory, 0o755)
    if fill_cpuset and not cpuset.inherit(os.path.dirname(directory), directory):
        # Somebody else has just made the parent and not filled it yet.
        _make_parent(root, path.rpartition("/")[0], fill_cpuset=True)
        cpuset.inherit(os.path.dirname(directory), directory)


def _make_parent(root: str, path: str, *, fill_cpuset: bool) -> None:
    directory = root
    for part in path.split("/")[1:]:
        parent, directory = directory, f"{directory}/{part}"
        try:
            os.mkdir(directory, 0o755)
        except FileExistsError:
            pass
        if fill_cpuset:
            cpuset.inherit(parent, directory)
