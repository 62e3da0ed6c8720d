"""What /proc tells: the boot, processes, memory."""

from __future__ import annotations

import os
from typing import NamedTuple

__all__ = [
    "PROC_SUPER_MAGIC",
    "ProcessStat",
    "boot_id",
    "meminfo",
    "parse_stat",
    "start_ticks",
    "stat",
    "ticks_per_second",
]

PROC_SUPER_MAGIC = 0x9FA0


class ProcessStat(NamedTuple):
    """Fields of /proc/<pid>/stat (proc(5)); `start_ticks` since boot, with the pid it names a process for good."""

    pid: int
    name: str
    state: str  # R, S, D, Z, T…
    parent: int
    group: int
    session: int
    start_ticks: int


def boot_id() -> str:
    """Return the kernel's random id of this boot."""
    return _read("/proc/sys/kernel/random/boot_id").decode().strip()


def stat(pid: int | str = "self") -> ProcessStat:
    """Return a process's fields. Raises `FileNotFoundError` or `ProcessLookupError` when there is none."""
    return parse_stat(_read(f"/proc/{pid}/stat"))


def start_ticks(pid: int | str = "self") -> int:
    """Return when a process started, in clock ticks since boot. Raises as `stat`."""
    return stat(pid).start_ticks


def parse_stat(line: bytes) -> ProcessStat:
    """Parse a line of /proc/<pid>/stat; the name may hold blanks and parentheses. Raises `ValueError`."""
    head, opened, rest = line.partition(b" (")
    name, closed, tail = rest.rpartition(b") ")
    fields = tail.split()
    if not opened or not closed or len(fields) < 20:
        raise ValueError("not a line of /proc/<pid>/stat")
    return ProcessStat(
        pid=int(head),
        name=name.decode(errors="replace"),
        state=fields[0].decode(),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
    )


def meminfo() -> dict[str, int]:
    """Return /proc/meminfo in bytes, by its names (``MemTotal``, ``SwapTotal``…)."""
    values = {}
    for line in _read("/proc/meminfo").decode().splitlines():
        name, _, rest = line.partition(":")
        number, *unit = rest.split()
        values[name] = int(number) * (1024 if unit == ["kB"] else 1)
    return values


def ticks_per_second() -> int:
    """Return the unit of the times in /proc/<pid>/stat."""
    return os.sysconf("SC_CLK_TCK")


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()
