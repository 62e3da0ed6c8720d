"""Making a directory of the one v2 hierarchy, with the controllers passed down to it.

Controllers are enabled in every ancestor's ``cgroup.subtree_control``. Processes may then live in leaves only ("no
internal processes"), but for the root of the machine's hierarchy. A daemon in a container of its own (a cgroup
namespace) finds itself inside what it sees as the root, which is none: there everybody moves into a child first.
"""

from __future__ import annotations

import errno
import os

from orlop.linux.cgroup import tree
from orlop.linux.cgroup.files import Write, perform, read

__all__ = ["enable", "make"]

_WANTED = ("cpuset", "cpu", "io", "memory", "pids")
_CONTROL = "cgroup.subtree_control"
_SHELTER = "init"  # where those go who lived in the root of a cgroup namespace
_ROUNDS = 10


def make(root: str, path: str) -> None:
    """Make the cgroup at `path` below the mount `root`; the last directory is made afresh. Raises `OSError`."""
    parts = path.split("/")[1:]
    directory = root
    for depth, part in enumerate(parts, 1):
        enable(directory, movable=directory == root)
        directory = f"{directory}/{part}"
        try:
            os.mkdir(directory, 0o755)
        except FileExistsError:
            if depth == len(parts):
                tree.remove(directory)
                os.mkdir(directory, 0o755)


def enable(directory: str, *, movable: bool) -> None:
    """Pass the controllers that `directory` has on to its children.

    One that the kernel does not pass on is left out: then the limit that needs it fails and names its file. With
    `movable`, processes that stand in the way are moved into a child. Raises `OSError` (EBUSY) if they may not be.
    """
    enabled = read(directory, _CONTROL).split()
    having = read(directory, "cgroup.controllers").split()
    missing = [controller for controller in _WANTED if controller in having and controller not in enabled]
    if not missing:
        return
    # Not left to the kernel to refuse: it takes the controllers that threads may have (cpu, cpuset, pids) in spite of
    # processes, and turns the cgroup into one that no container can live below.
    if _bound_by_rule(directory) and read(directory, "cgroup.procs"):
        if not movable:
            raise OSError(errno.EBUSY, "processes in the cgroup keep its controllers from its children", directory)
        _evacuate(directory)
    for controller in missing:
        try:
            perform(directory, [Write(_CONTROL, f"+{controller}")])
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT, errno.EOPNOTSUPP):
                raise


def _bound_by_rule(directory: str) -> bool:
    """Say whether processes and controllers for children exclude each other: not in the machine's own root."""
    return os.path.exists(f"{directory}/cgroup.type")


def _evacuate(directory: str) -> None:
    shelter = f"{directory}/{_SHELTER}"
    os.makedirs(shelter, 0o755, exist_ok=True)
    for _ in range(_ROUNDS):
        pids = read(directory, "cgroup.procs").split()
        if not pids:
            return
        for pid in pids:
            try:
                perform(shelter, [Write("cgroup.procs", pid)])
            except OSError as error:
                if error.errno != errno.ESRCH:
                    raise
