"""devices: which device files the processes may make, read and write. On v2 a BPF program decides."""

from __future__ import annotations

from orlop.linux.cgroup.device_rules import normalise
from orlop.linux.cgroup.files import Resources
from orlop.linux.cgroup.v2 import bpf

__all__ = ["apply", "plan"]


def plan(resources: Resources) -> bytes:
    """Return the program for the rules; empty when they forbid nothing."""
    return bpf.program(normalise(resources.get("devices") or ()))


def apply(directory: str, program: bytes) -> None:
    """Attach the program; an empty one leaves the cgroup with its parents' rules. Raises `OSError`."""
    if program:
        bpf.attach(directory, program)
