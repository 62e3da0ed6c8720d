"""The namespaces of a container: which are new, which are joined, and in what order (namespaces(7)).

The shim itself makes or joins the pid namespace, since that takes effect with its next child; the first process makes
and joins the others. The cgroup namespace comes last, when the process is in its cgroup, because its root is where
the process is at that moment.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from orlop.linux import namespace
from orlop.shim.failure import StartError

__all__ = ["NamespacePlan", "enter", "enter_pid", "plan"]


class NamespacePlan(NamedTuple):
    """What to do for each type: made anew (`new`), joined by path (`joined`), or else left as the host's."""

    new: frozenset[str]
    joined: dict[str, str]

    def has(self, kind: str) -> bool:
        """Say whether the container has a namespace of this type that is not simply the host's."""
        return kind in self.new or kind in self.joined


def plan(linux: dict[str, Any]) -> NamespacePlan:
    """Read ``linux.namespaces`` of a specification. Raises `StartError` for a type that is unknown."""
    new, joined = set(), {}
    for entry in linux.get("namespaces", ()):
        kind = entry["type"]
        if kind not in namespace.FLAGS or kind == "user":
            raise StartError("namespaces", f"namespace {kind} is not supported", plain=True)
        if entry.get("path"):
            joined[kind] = entry["path"]
        else:
            new.add(kind)
    return NamespacePlan(frozenset(new), joined)


def enter_pid(spaces: NamespacePlan) -> None:
    """Have the next children be born in the container's pid namespace. Raises `StartError`."""
    if "pid" in spaces.joined:
        _join("pid", spaces.joined["pid"])
    elif "pid" in spaces.new:
        namespace.unshare(namespace.CLONE_NEWPID)


def enter(spaces: NamespacePlan, *kinds: str) -> None:
    """Join, and make, those of `kinds` that the plan has. Raises `StartError`."""
    for kind in kinds:
        if kind in spaces.joined:
            _join(kind, spaces.joined[kind])
    flags = 0
    for kind in kinds:
        if kind in spaces.new:
            flags |= namespace.FLAGS[kind]
    if flags:
        try:
            namespace.unshare(flags)
        except OSError as error:
            raise StartError.from_os("namespaces", f"unable to make namespaces ({', '.join(kinds)})", error) from error


def _join(kind: str, path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            namespace.setns(fd, namespace.FLAGS[kind])
        finally:
            os.close(fd)
    except OSError as error:
        raise StartError.from_os("namespaces", f"unable to join the {kind} namespace {path}", error) from error
