"""cpuset: the processors and memory nodes a cgroup may use. A new one has neither and takes nobody in."""

from __future__ import annotations

from orlop.linux.cgroup.files import Resources, Write, first_line, perform

__all__ = ["inherit", "plan"]

_FILES = ("cpuset.cpus", "cpuset.mems")


def plan(resources: Resources) -> list[Write]:
    """Plan the processors and memory nodes."""
    cpu = resources.get("cpu") or {}
    return [Write(f"cpuset.{key}", cpu[key]) for key in ("cpus", "mems") if cpu.get(key)]


def inherit(parent: str, directory: str) -> bool:
    """Fill a cgroup that has no processors or memory nodes with its parent's; False if that has none itself."""
    missing = [Write(file, first_line(parent, file)) for file in _FILES if not first_line(directory, file)]
    perform(directory, [write for write in missing if write.value])
    return all(write.value for write in missing)
