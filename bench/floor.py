"""The floor: what the kernel takes for a container's isolation with next to nothing around it.

Each figure is the time of one `unshare(1)` that makes namespaces, runs `true` in them and waits for its end. An engine
cannot be faster than that, and how many times slower it is tells what it adds.
"""

from __future__ import annotations

import subprocess
import time

__all__ = ["FLOORS", "measure"]

_NONE = ("--mount", "--uts", "--ipc", "--pid", "--cgroup", "--fork")
FLOORS: dict[str, tuple[str, ...]] = {
    "fork": ("true",),
    "namespaces": ("unshare", *_NONE, "true"),
    "namespaces and network": ("unshare", *_NONE, "--net", "true"),
}


def measure(name: str) -> float:
    """Return the milliseconds of one floor."""
    begin = time.perf_counter()
    subprocess.run(FLOORS[name], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - begin) * 1e3
