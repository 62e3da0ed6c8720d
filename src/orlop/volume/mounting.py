"""The file systems of volumes that have a device: mounted while somebody holds them, in the daemon's namespace.

They lie on ``volumes/<name>/_data``, as in Docker: containers that share a volume share the file system (two tmpfs
would be two), it can be seen from the host, and containers find what they bind. A crash leaves them mounted, which is
right for the containers that run on; `adopt` finds them, and `settle` unmounts what nobody came to hold.

A server that does not answer can hold up mount(2) for ever, so these calls have threads of their own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from orlop.errors import Internal
from orlop.linux import errno, mount
from orlop.linux.mountinfo import mounted_below
from orlop.volume.device import DeviceMount, device_mount, named_host

__all__ = ["DeviceMounts", "unmount_below"]

log = logging.getLogger(__name__)

_THREADS = 4
_NOFOLLOW = 8  # UMOUNT_NOFOLLOW
T = TypeVar("T")


class DeviceMounts:
    """Who holds which volume, and which are mounted. Called on the event loop; the caller locks each volume."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._holders: defaultdict[str, set[str]] = defaultdict(set)
        self._mounted: set[str] = set()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="volume-mount")

    def hold(self, name: str, holder: str) -> None:
        """Keep a volume mounted for `holder`."""
        self._holders[name].add(holder)

    def release(self, name: str, holder: str) -> bool:
        """`holder` does not need it any more; tell whether it should be unmounted now."""
        self._holders[name].discard(holder)
        if not self._holders[name]:
            del self._holders[name]
        return name in self._mounted and not self.held(name)

    def held(self, name: str) -> bool:
        """Tell whether anybody holds a volume."""
        return name in self._holders

    async def adopt(self, names: Iterable[str]) -> None:
        """Find out which of `names` an earlier daemon has mounted."""
        root = os.path.realpath(self._root)
        points = set(await self._run(partial(mounted_below, root)))
        self._mounted = {name for name in names if f"{root}/{name}/_data" in points}

    def unheld(self) -> list[str]:
        """Return the volumes that are mounted and that nobody holds."""
        return [name for name in self._mounted if not self.held(name)]

    async def mount(self, name: str, options: Mapping[str, str]) -> None:
        """Mount a volume, unless that is done. Raises `Internal` with Docker's words."""
        if name in self._mounted:
            return
        target = self._target(name)
        try:
            plan = await self._run(partial(_plan, options))
            await self._run(partial(_mount, plan, target))
        except Internal as error:
            raise Internal(f"error while mounting volume '{target}': {error.message}") from error
        self._mounted.add(name)

    async def unmount(self, name: str) -> None:
        """Unmount a volume, unless it is held or not mounted. Raises `OSError`."""
        if self.held(name) or name not in self._mounted:
            return
        await self._run(partial(unmount_below, self._target(name)))
        self._mounted.discard(name)

    def close(self) -> None:
        """Leave everything mounted."""
        self._threads.shutdown(wait=False)

    def _target(self, name: str) -> str:
        return str(self._root / name / "_data")

    async def _run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)


def unmount_below(directory: str) -> None:
    """Detach all that is mounted at and below `directory`, without a look at it: a server may not answer.

    Raises `OSError` for what cannot be.
    """
    parent, name = os.path.split(directory)
    for point in reversed(mounted_below(f"{os.path.realpath(parent)}/{name}")):
        mount.umount2(point, mount.MNT_DETACH | _NOFOLLOW)


def _plan(options: Mapping[str, str]) -> DeviceMount:
    if not options.get("device"):
        raise Internal("missing device in volume options")
    host = named_host(options)
    if not host:
        return device_mount(options)
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        reason = f"lookup {host}: {error.strerror or error}"
        raise Internal(f"error resolving passed in network volume address: {reason}") from error
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return device_mount(options, str(found[0][4][0]))


def _mount(plan: DeviceMount, target: str) -> None:
    try:
        point = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            mount.mount(plan.device, f"/proc/self/fd/{point}", plan.kind, plan.flags, plan.data.encode() or None)
        finally:
            os.close(point)
        try:
            if plan.propagation:
                mount.set_propagation(target, plan.propagation)
            if plan.read_only_bind:
                mount.mount(None, target, None, plan.flags | mount.MS_REMOUNT)
        except OSError:
            unmount_below(target)
            raise
    except OSError as error:
        raise Internal(plan.failure(target, errno.text(error))) from error
