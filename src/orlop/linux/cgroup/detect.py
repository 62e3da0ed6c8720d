"""Find out which cgroup version is in charge, and where its hierarchies are mounted (proc(5) mountinfo)."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CgroupHost", "Hierarchy", "detect", "parse_mounts"]

# Every controller that v1 ever had: mount options hold other words as well (xattr, clone_children…).
_CONTROLLERS = frozenset(
    (
        *("blkio", "cpu", "cpuacct", "cpuset", "debug", "devices", "dmem", "freezer", "hugetlb"),
        *("memory", "misc", "net_cls", "net_prio", "perf_event", "pids", "rdma"),
    )
)


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted v1 hierarchy: its controllers, or its ``name=…``, and the directory of its root."""

    controllers: tuple[str, ...]
    mountpoint: str


@dataclass(frozen=True, slots=True)
class CgroupHost:
    """The cgroups of this machine.

    On version 1 `hierarchies` are those with controllers and the named ones; `unified` is a cgroup2 mount beside
    them, which is left alone. On version 2 `unified` is all there is.
    """

    version: int
    controllers: frozenset[str]
    hierarchies: tuple[Hierarchy, ...] = ()
    unified: str = ""

    def root(self, controller: str) -> str:
        """Return the root directory of a controller's hierarchy; empty when it has none."""
        if self.version == 2:
            return self.unified if controller in self.controllers else ""
        for hierarchy in self.hierarchies:
            if controller in hierarchy.controllers:
                return hierarchy.mountpoint
        return ""


def parse_mounts(mountinfo: str) -> tuple[tuple[Hierarchy, ...], str]:
    """Return the v1 hierarchies and the cgroup2 mount (empty: none) of a mountinfo text.

    A hierarchy that is mounted several times counts where it is seen from its own root, first mount first.
    """
    found: dict[tuple[str, ...], tuple[bool, str]] = {}
    for line in mountinfo.splitlines():
        front, _, back = line.partition(" - ")
        fields, kind = front.split(), back.split()
        if len(fields) < 6 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        if kind[0] == "cgroup2":
            key: tuple[str, ...] = ()
        else:
            words = kind[2].split(",")
            key = tuple(word for word in words if word in _CONTROLLERS or word.startswith("name="))
            if not key:
                continue
        whole = fields[3] == "/"
        if key not in found or (whole and not found[key][0]):
            found[key] = (whole, _unescape(fields[4]))
    _, unified = found.pop((), (True, ""))
    return tuple(Hierarchy(key, mountpoint) for key, (_, mountpoint) in found.items()), unified


@functools.cache
def detect() -> CgroupHost:
    """Return the cgroups of this machine, read once. Raises `FileNotFoundError` when none are mounted.

    A cgroup2 mount that holds a stray controller while v1 hierarchies are mounted does not make the machine v2.
    """
    hierarchies, unified = parse_mounts(Path("/proc/self/mountinfo").read_text())
    controllers = {name for hierarchy in hierarchies for name in hierarchy.controllers if "=" not in name}
    if controllers:
        usable = tuple(h for h in hierarchies if "=" not in h.controllers[0] or os.access(h.mountpoint, os.W_OK))
        beside = unified if unified and os.access(unified, os.W_OK) else ""
        return CgroupHost(1, frozenset(controllers), usable, beside)
    if not unified:
        raise FileNotFoundError("no cgroup hierarchy is mounted")
    available = Path(unified, "cgroup.controllers").read_text().split()
    # The kernel has no files for these two on v2: device rules are a BPF program, freezing is always there.
    return CgroupHost(2, frozenset((*available, "devices", "freezer")), unified=unified)


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
