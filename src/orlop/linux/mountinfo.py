"""Where something is mounted (proc(5), /proc/pid/mountinfo)."""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["mounted_below", "mount_points"]

_ESCAPE = re.compile(rb"\\([0-7]{3})")


def mounted_below(directory: str) -> list[str]:
    """Return the mount points at and below `directory` in this mount namespace, in the order of mounting.

    A point at which several file systems lie on each other comes several times.
    """
    prefix = directory.rstrip("/") + "/"
    points = mount_points(Path("/proc/self/mountinfo").read_bytes())
    return [point for point in points if f"{point}/".startswith(prefix)]


def mount_points(mountinfo: bytes) -> list[str]:
    """Return the mount points of a mountinfo file.

    >>> mount_points(rb"40 1 0:33 / /a\\040b rw,relatime shared:1 - tmpfs tmpfs rw")
    ['/a b']
    """
    found = []
    for line in mountinfo.splitlines():
        fields = line.split(b" ", 5)
        if len(fields) == 6:
            found.append(os.fsdecode(_ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), fields[4])))
    return found
