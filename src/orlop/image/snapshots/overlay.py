"""Snapshots by overlayfs: a container's ``upper`` and ``work`` directories above the layers of its image.

What a snapshot stands on is written beside it (``containers/<id>/snapshot``), so that it can be shown and measured
without the image. An upper directory has one owner: the kernel lets two overlays share one and then misbehaves, so a
start *claims* it, and so does a *view* from outside.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from orlop.errors import Conflict, Internal, NotFound
from orlop.image.layers import Layers
from orlop.linux.filesystem import spread
from orlop.linux.mount import detached_overlay
from orlop.linux.tree import measure
from orlop.model.record import ImageRecord, LayerRecord, Rootfs

__all__ = ["OPTIONS", "OverlaySnapshots"]

OPTIONS: tuple[tuple[str, str | None], ...] = (("index", "off"), ("metacopy", "off"), ("redirect_dir", "off"))
"""Mount options of every overlay whose upper directory is read as a layer, whatever the module's defaults are."""

_OPTION_WORDS = tuple(f"{key}={value}" for key, value in OPTIONS)
_MAX_LAYERS = 499  # the kernel's limit is 500 directories
_STATE = "snapshot"
_VOLATILE = "volatile"  # nothing of an upper directory is synced, not even by those who ask for it


@dataclass(frozen=True, slots=True)
class _State:
    """What a snapshot stands on: the names of the layers, bottom first, and the bytes of the image."""

    layers: tuple[str, ...]
    image_size: int


class OverlaySnapshots:
    """The snapshots beneath ``<data_root>/containers``. Every method may be called from any thread."""

    def __init__(self, data_root: Path, layers: Layers) -> None:
        self._path = data_root / "containers"
        self._path.mkdir(mode=0o710, parents=True, exist_ok=True)
        spread(self._path)  # containers that come and go with many files do not slow each other down
        self._layers = layers
        self._scratch = layers.scratch
        self._states: dict[str, _State] = {}  # as in the files; only `prepare` and `remove` change them
        self._claimed: set[str] = set()
        self._lock = threading.Lock()

    def prepare(self, container_id: str, record: ImageRecord) -> Rootfs:
        """Return the container's root file system above the image `record`; make it if it is not there yet.

        Raises `errors.Conflict` for more layers than the kernel takes.
        """
        state = _State(tuple(self._layers.names_of(record)), record.size)
        rootfs = self._checked(self._rootfs(container_id, state))
        if self._states.get(container_id) != state:
            self._make(container_id, rootfs, state)
            self._states[container_id] = state
        return rootfs

    def fresh(self, step_id: str, layers: Sequence[LayerRecord]) -> Rootfs:
        """Make the root file system of a step of a build above `layers`, bottom first.

        Nobody waits for it to be on the disk, and the program in it cannot either (the option ``volatile``): what is
        to stay is read out of it. Raises `errors.Conflict` for more layers than the kernel takes.
        """
        state = _State(tuple(self._layers.names_of_chain(layers, "the step's base")), 0)
        rootfs = self._checked(self._rootfs(step_id, state))
        self._states[step_id] = state
        (self._path / step_id).mkdir(mode=0o710, exist_ok=True)
        os.mkdir(rootfs.upper, 0o700)
        self._set_root_attributes(rootfs)
        os.mkdir(rootfs.work, 0o700)
        return msgspec.structs.replace(rootfs, options=(*rootfs.options, _VOLATILE))

    def again(self, step_id: str, container_id: str) -> Rootfs:
        """Return the root file system of a step for another container, whose own directory is made for that.

        Claim the step before. Raises `NotFound`.
        """
        state = self._state(step_id)
        rootfs = self._rootfs(step_id, state)
        work = self._path / container_id / "work"  # the step's own is marked as one that a crash may have left
        self._states[container_id] = state
        work.mkdir(mode=0o700, parents=True)
        return msgspec.structs.replace(rootfs, work=str(work), options=(*rootfs.options, _VOLATILE))

    def remove(self, container_id: str) -> None:
        """Remove the container's directory, with its log and files; nothing happens if there is none."""
        self._states.pop(container_id, None)
        self._scratch.discard(self._path / container_id)

    def list(self) -> set[str]:
        """Return the ids of all containers that have a directory."""
        return set(os.listdir(self._path))

    def strays(self, known: Collection[str]) -> tuple[Path, ...]:
        """Return what lies in the directory and belongs neither to a container of `known` nor to one in the making."""
        return tuple(self._path / name for name in self.list() if name not in known and name not in self._states)

    def stands_on(self, container_id: str) -> tuple[str, ...]:
        """Return the names of the layers below a container, bottom first. Raises `NotFound` and `Internal`."""
        return self._state(container_id).layers

    def claimed(self) -> frozenset[str]:
        """Return the containers whose upper directory has an owner, for a start or a view."""
        with self._lock:
            return frozenset(self._claimed)

    @contextmanager
    def claim(self, container_id: str) -> Iterator[None]:
        """Own the container's upper directory. Raises `errors.Conflict` if it has an owner."""
        with self._lock:
            if container_id in self._claimed:
                raise Conflict(f"the file system of container {container_id[:12]} is in use by another request")
            self._claimed.add(container_id)
        try:
            yield
        finally:
            with self._lock:
                self._claimed.discard(container_id)

    @contextmanager
    def view(self, rootfs: Rootfs) -> Iterator[int]:
        """Mount a stopped container's root file system for a while; yield a directory descriptor for `openat2`.

        Raises `errors.Conflict` if the container is being started or viewed.
        """
        with self.claim(Path(rootfs.upper).parent.name):
            fd = detached_overlay(rootfs.lower, rootfs.upper, rootfs.work, OPTIONS)
            try:
                yield fd
            finally:
                os.close(fd)

    def describe(self, container_id: str) -> dict[str, str]:
        """Return Docker's ``GraphDriver.Data`` of a container."""
        rootfs = self._rootfs(container_id, self._state(container_id))
        return {
            "LowerDir": ":".join(rootfs.lower),
            "MergedDir": str(self._path / container_id / "merged"),
            "UpperDir": rootfs.upper,
            "WorkDir": rootfs.work,
        }

    def size(self, container_id: str) -> int:
        """Return the bytes of the files that the container has written."""
        return measure(self._path / container_id / "upper").length

    def allocated(self, container_id: str) -> int:
        """Return the bytes on the disk of all that the container has: what it has written, its log, its files."""
        return measure(self._path / container_id).allocated

    def sizes(self, container_id: str) -> tuple[int, int]:
        """Return the bytes of the container's own files, and those together with its image's."""
        own = self.size(container_id)
        return own, own + self._state(container_id).image_size

    def _rootfs(self, container_id: str, state: _State) -> Rootfs:
        directory = self._path / container_id
        lower = self._layers.stack(state.layers)
        return Rootfs(lower=lower, upper=str(directory / "upper"), work=str(directory / "work"), options=_OPTION_WORDS)

    @staticmethod
    def _checked(rootfs: Rootfs) -> Rootfs:
        if len(rootfs.lower) > _MAX_LAYERS:
            raise Conflict(f"the image has {len(rootfs.lower)} layers, the kernel takes {_MAX_LAYERS}")
        return rootfs

    def _make(self, container_id: str, rootfs: Rootfs, state: _State) -> None:
        directory = self._path / container_id
        directory.mkdir(mode=0o710, exist_ok=True)
        try:
            os.mkdir(rootfs.upper, 0o700)
        except FileExistsError:
            pass
        else:
            self._set_root_attributes(rootfs)
            # Programs look for this file to learn that they run in a container.
            os.close(os.open(f"{rootfs.upper}/.dockerenv", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755))
        try:
            os.mkdir(rootfs.work, 0o700)
        except FileExistsError:
            pass
        (directory / _STATE).write_text(json.dumps({"layers": state.layers, "image_size": state.image_size}))

    def _set_root_attributes(self, rootfs: Rootfs) -> None:
        """Give the upper directory what the image says of its root: an overlay shows the upper's."""
        root = self._layers.root_attributes(rootfs.lower)
        os.chown(rootfs.upper, root.st_uid, root.st_gid)
        os.chmod(rootfs.upper, root.st_mode & 0o7777)
        for name in ("system.posix_acl_access", "system.posix_acl_default"):
            try:
                os.setxattr(rootfs.upper, name, os.getxattr(rootfs.lower[0], name))
            except OSError as error:
                if error.errno not in (errno.ENODATA, errno.ENOTSUP):
                    raise

    def _state(self, container_id: str) -> _State:
        state = self._states.get(container_id)
        if state is None:
            try:
                stored = json.loads((self._path / container_id / _STATE).read_bytes())
                state = _State(tuple(stored["layers"]), stored["image_size"])
            except FileNotFoundError:
                raise NotFound(f"container {container_id[:12]} has no file system") from None
            except (ValueError, KeyError, TypeError):
                raise Internal(f"the snapshot of container {container_id[:12]} is damaged") from None
            self._states[container_id] = state
        return state
