"""The floor: what the kernel takes for a container's isolation with next to nothing around it.

Each figure is the time of one `unshare(1)` that makes namespaces, runs `true` in them and waits for its end. An engine
cannot be faster than that, and how many times slower it is tells what it adds. For `docker save` it is tar(1), which
copies the same archive from one file to another.
"""

from __future__ import annotations

import subprocess
import time

from bench import material

__all__ = ["FLOORS", "measure"]

_NONE = ("--mount", "--uts", "--ipc", "--pid", "--cgroup", "--fork")
FLOORS: dict[str, tuple[str, ...]] = {
    "fork": ("true",),
    "namespaces": ("unshare", *_NONE, "true"),
    "namespaces and network": ("unshare", *_NONE, "--net", "true"),
    "tar of the saved image": ("tar", "cf", "{archive}.floor", "{archive}"),
}


def measure(name: str) -> float:
    """Return the milliseconds of one floor."""
    archive = material.archive()
    command = [word.format(archive=archive) for word in FLOORS[name]]
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    elapsed = time.perf_counter() - begin
    archive.with_name(f"{archive.name}.floor").unlink(missing_ok=True)
    return elapsed * 1e3
