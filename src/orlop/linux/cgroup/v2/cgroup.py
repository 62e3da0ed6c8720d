"""A cgroup on v2: one directory."""

from __future__ import annotations

import os
from pathlib import Path

from orlop.linux.cgroup import tree
from orlop.linux.cgroup.cgroup import Cgroup, CgroupUsage, Mount, OomWatch
from orlop.linux.cgroup.detect import CgroupHost
from orlop.linux.cgroup.files import Resources, Write, open_all, perform
from orlop.linux.cgroup.v2 import cpu, cpuset, devices, freezer, io, memory, pids, subtree

__all__ = ["CgroupV2"]


class CgroupV2(Cgroup):
    """See `Cgroup`."""

    def __init__(self, host: CgroupHost, path: str) -> None:
        super().__init__(path)
        self._host = host
        self._directory = host.unified + self.path

    def directories(self) -> list[Path]:
        return [Path(self._directory)]

    def create(self, resources: Resources) -> None:
        try:
            subtree.make(self._host.unified, self.path)
            devices.apply(self._directory, devices.plan(resources))
            self.update(resources)
        except OSError:
            self._undo()
            raise

    def join(self, pid: int) -> None:
        perform(self._directory, [Write("cgroup.procs", str(pid))])

    def entrances(self) -> list[int]:
        return open_all([f"{self._directory}/cgroup.procs"])

    def update(self, resources: Resources) -> None:
        def exists(file: str) -> bool:
            return os.access(f"{self._directory}/{file}", os.F_OK)

        writes = [
            *cpuset.plan(resources),
            *memory.plan(resources, exists),
            *cpu.plan(resources),
            *pids.plan(resources),
            *io.plan(resources, exists),
        ]
        perform(self._directory, writes)

    def freeze(self) -> None:
        freezer.freeze(self._directory)

    def thaw(self) -> None:
        perform(self._directory, freezer.plan(freezer.THAWED))

    def frozen(self) -> bool:
        return freezer.state(self._directory) == freezer.FROZEN

    def kill(self) -> None:
        if not freezer.state(self._directory):
            return
        if os.access(f"{self._directory}/cgroup.kill", os.F_OK):  # kernel 5.14
            perform(self._directory, [Write("cgroup.kill", "1")])
        else:
            # While they stand still none can fork away from its signal.
            try:
                freezer.freeze(self._directory)
            except TimeoutError:
                tree.signal_all(self._directory)
            tree.signal_all(self._directory)
        perform(self._directory, freezer.plan(freezer.THAWED))

    def oom_kills(self) -> int:
        return memory.oom_kills(self._directory)

    def watch_oom(self) -> OomWatch:
        return memory.watch_oom(self._directory)

    def usage(self) -> CgroupUsage:
        usage = CgroupUsage()
        for controller in (cpu, memory, pids, io):
            controller.usage(self._directory, usage)
        return usage

    def mounts(self, destination: str, *, private: bool, readonly: bool) -> list[Mount]:
        source = self._directory if private else self._host.unified
        options = ["bind", "nosuid", "noexec", "nodev", *(["ro"] if readonly else [])]
        return [{"destination": destination, "type": "bind", "source": source, "options": options}]

    def _members(self) -> str:
        return self._directory

    def _undo(self) -> None:
        """Remove what an unfinished `create` made; the error that ended it is the one to tell."""
        try:
            tree.remove(self._directory, attempts=1)
        except OSError:
            return
