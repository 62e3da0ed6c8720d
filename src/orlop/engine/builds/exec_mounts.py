"""What a step has mounted beside what every container has (`RUN --mount`): sources made ready, targets left to a shim.

Every source of files is a detached mount, given to the shim by its descriptor. A path in it (``source=``) is looked up
by the kernel inside that mount, a target inside the container's root: links lead out of neither, whenever they were put
there (CVE-2024-23651). What was mounted on is no part of a layer, so nothing has to be removed by path afterwards
(CVE-2024-23652).
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from orlop.build.graph import Context, Exec, Mount, NodeFiles
from orlop.build.worker import FileSystem
from orlop.engine.builds.cache_mounts import CacheMounts, cache_key
from orlop.errors import InvalidArgument, NotFound
from orlop.image.layers import Layers
from orlop.image.snapshots.overlay import OPTIONS
from orlop.linux import mount as mounting
from orlop.linux.openat2 import open_in_root
from orlop.volume.copyup import copy_up

__all__ = ["ContextTrees", "StepMounts", "check"]

Json = dict[str, Any]

_EMPTY = ("", "/", ".")


class ContextTrees(Protocol):
    """The contexts of a build as directories of this host."""

    def materialize(self, context: Context, path: str) -> Path:
        """Return a host path with what `path` of a context is, links followed inside the context. Blocks.

        Raises `NotFound` if there is nothing. Nobody writes there.
        """


def check(node: Exec) -> None:
    """Raise `InvalidArgument` for what a step needs and no client has brought."""
    for mount in node.mounts:
        if mount.required and mount.kind == "secret":
            raise InvalidArgument(f"secret {mount.id}: not found")
        if mount.required and mount.kind == "ssh":
            raise InvalidArgument(f'no SSH key "{mount.id or "default"}" forwarded from the client')


@dataclass(slots=True)
class StepMounts:
    """The mounts of one step. `directory` is its own, for what it writes that nobody keeps.

    After `prepare` there are `entries` (OCI mounts, in their order), `fds` that these refer to, and `points`, where
    they are mounted. `close` when the step has them.
    """

    node: Exec
    nodes: Mapping[int, FileSystem]
    directory: Path
    layers: Layers
    contexts: ContextTrees
    caches: CacheMounts
    entries: list[Json] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)

    @property
    def points(self) -> set[str]:
        """Where something is mounted, as the step says it."""
        return {entry["destination"] for entry in self.entries}

    async def prepare(self, stack: AsyncExitStack) -> None:
        """Make all sources ready; caches are entered until `stack` unwinds. Raises `NotFound` and `OSError`."""
        if self.node.mounts or self.node.script is not None:
            entered = await self._enter_caches(stack)
            await asyncio.to_thread(self._open, entered)

    def close(self) -> None:
        """Let go of the descriptors."""
        while self.fds:
            os.close(self.fds.pop())

    async def _enter_caches(self, stack: AsyncExitStack) -> dict[str, Path]:
        """Enter each cache once, in one order for all steps, so that none waits for another that waits for it."""
        wanted = {self._cache_key(mount): mount for mount in self.node.mounts if mount.kind == "cache"}
        entered = {}
        for key, mount in sorted(wanted.items()):
            context = self.caches.entered(key, mount.id, mount.sharing, partial(self._fill, mount))
            entered[key] = await stack.enter_async_context(context)
        return entered

    def _cache_key(self, mount: Mount) -> str:
        origin = ""
        if mount.input is not None:
            origin = f"{self._origin(mount.input)} {mount.source}"
        if (mount.uid, mount.gid, mount.mode) != (0, 0, None):
            origin += f" {mount.uid}:{mount.gid} {mount.mode}"
        return cache_key(mount.id, origin)

    def _origin(self, source: Context | NodeFiles) -> str:
        if isinstance(source, Context):
            return f"context {source.name}"
        return " ".join(layer.diff_id for layer in self.nodes[source.node])

    def _fill(self, mount: Mount, target: Path) -> None:
        """Make what a new cache begins with."""
        if mount.input is not None:
            fd, path = self._source(mount, mount.input)
            try:
                copy_up(fd, path or "/", str(target))
            finally:
                os.close(fd)
        if mount.uid or mount.gid:
            os.chown(target, mount.uid, mount.gid)
        if mount.mode is not None:
            os.chmod(target, mount.mode)

    def _open(self, caches: Mapping[str, Path]) -> None:
        """Open the sources in the order of their targets: what lies above another is mounted first."""
        for index, mount in enumerate(sorted(self.node.mounts, key=lambda mount: _clean(mount.target))):
            match mount.kind:
                case "bind":
                    self._add(mount, *self._bound(mount, self.directory / f"mount-{index}"))
                case "cache":
                    self._add(mount, _detached(str(caches[self._cache_key(mount)])), "")
                case "tmpfs":
                    self.entries.append(_tmpfs(mount))
        if self.node.script is not None:
            path, content = self.node.script
            self._add(Mount("bind", path, read_only=True), _script(self.directory / "script", content), "")

    def _add(self, mount: Mount, fd: int, beneath: str) -> None:
        """Bind the mount `fd`, or the path `beneath` in it."""
        options = ["bind", "private", f"x-orlop-given={len(self.fds)}"]
        self.fds.append(fd)
        if beneath not in _EMPTY:
            options.append(f"x-orlop-beneath={beneath}")
        if mount.read_only:
            options.append("ro")
        source = mount.source or "/"
        self.entries.append({"destination": _clean(mount.target), "type": "bind", "source": source, "options": options})

    def _bound(self, mount: Mount, place: Path) -> tuple[int, str]:
        """Return the mount that is bound from, and the path in it; what is written goes to `place`."""
        if mount.input is None:
            place.mkdir(mode=0o755)
            return _detached(str(place)), ""
        if mount.read_only:
            return self._source(mount, mount.input)
        if isinstance(mount.input, NodeFiles):
            lower = self.layers.stack(self.layers.names_of_chain(self.nodes[mount.input.node], "a mount"))
            return _checked(_writable(lower, self.layers.root_attributes(lower), place), mount.source)
        path = self.contexts.materialize(mount.input, mount.source)
        if path.is_dir():
            return _writable((str(path),), path.stat(), place), ""
        place.mkdir()
        return _detached(shutil.copy2(str(path), str(place / "file"))), ""

    def _source(self, mount: Mount, source: Context | NodeFiles) -> tuple[int, str]:
        """Return a mount with the files of `source`, which the caller must not let write, and the path in it."""
        if isinstance(source, Context):
            return _detached(str(self.contexts.materialize(source, mount.source))), ""
        names = self.layers.names_of_chain(self.nodes[source.node], "a mount")
        return _checked(_view([*self.layers.stack(names), *self.layers.stack(())]), mount.source)


def _view(directories: Sequence[str]) -> int:
    """Return a detached, read-only mount of layers, topmost first."""
    directories = list(dict.fromkeys(directories))
    if len(directories) == 1:
        return _detached(directories[0], mounting.ATTR_RDONLY)
    return mounting.detached_overlay(directories, "", "", OPTIONS)


def _writable(lower: Sequence[str], root: os.stat_result, place: Path) -> int:
    """Return a detached mount of layers that keeps at `place` what is written, for as long as that is there."""
    upper, work = place / "upper", place / "work"
    place.mkdir()
    upper.mkdir(mode=0o700)
    work.mkdir(mode=0o700)
    os.chown(upper, root.st_uid, root.st_gid)
    os.chmod(upper, root.st_mode & 0o7777)
    return mounting.detached_overlay(lower, str(upper), str(work), (*OPTIONS, ("volatile", None)))


def _detached(path: str, attributes: int = 0) -> int:
    """Return a detached bind mount of a path of this host, which nothing propagates to."""
    fd = mounting.clone_tree(path)
    try:
        mounting.mount_setattr(fd, attributes, propagation=mounting.MS_PRIVATE)
    except OSError:
        os.close(fd)
        raise
    return fd


def _checked(fd: int, path: str) -> tuple[int, str]:
    """Return both if `path` is there, links followed inside the mount."""
    try:
        os.close(open_in_root(fd, path or "/", os.O_PATH))
    except OSError as error:
        os.close(fd)
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise NotFound(f'"{path}": not found') from None
        raise
    return fd, path


def _tmpfs(mount: Mount) -> Json:
    options = ["nosuid", *([f"size={mount.size}"] if mount.size else []), *(["ro"] if mount.read_only else [])]
    return {"destination": _clean(mount.target), "type": "tmpfs", "source": "tmpfs", "options": options}


def _clean(path: str) -> str:
    """Return a path from the root without ``.``, ``..`` and empty parts; the links in it are for the kernel."""
    return posixpath.normpath(f"/{path}").replace("//", "/")


def _script(path: Path, content: bytes) -> int:
    path.write_bytes(content)
    path.chmod(0o755)
    return _detached(str(path))
