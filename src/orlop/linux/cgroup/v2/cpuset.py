"""cpuset: the processors and memory nodes a cgroup may use. A new one has its parent's."""

from __future__ import annotations

from orlop.linux.cgroup.files import Resources, Write

__all__ = ["plan"]


def plan(resources: Resources) -> list[Write]:
    """Plan the processors and memory nodes."""
    cpu = resources.get("cpu") or {}
    return [Write(f"cpuset.{key}", cpu[key]) for key in ("cpus", "mems") if cpu.get(key)]
