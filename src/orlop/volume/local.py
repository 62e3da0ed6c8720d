"""Volumes of the local driver: ``volumes/<name>/_data`` below the data root, known to the store.

A volume exists when its record does. Creating makes the directory first and the record then; removing first renames
the directory to ``.removing-<name>.<random>`` (no volume can be called so), then deletes the record, then the files.
So a crash leaves one of: an empty directory without a record (deleted at the next start), a renamed one with its record
(renamed back: nobody was told that it is gone), a renamed one without (deleted). A directory with content and without a
record is somebody's data from a lost database: it becomes a volume again.

A volume with ``type`` and ``device`` is a file system that is mounted on its ``_data`` while containers need it
(`orlop.volume.mounting`); nothing of what is mounted is ever deleted with the volume.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from orlop.errors import Conflict, Error, Internal, InvalidArgument, NotFound, Unavailable
from orlop.formats.identity import NAME_CHARACTERS, is_name, new_id
from orlop.formats.units import parse_binary_size
from orlop.linux.tree import remove_tree
from orlop.model.api.volume import VolumeCreate
from orlop.model.record import VolumeRecord
from orlop.store import volumes as table
from orlop.store.store import Store
from orlop.volume.copyup import copy_up
from orlop.volume.device import check_device, needs_mount
from orlop.volume.mounting import DeviceMounts, unmount_below
from orlop.volume.volume import ANONYMOUS_LABEL

__all__ = ["LocalVolumes"]

log = logging.getLogger(__name__)

_REMOVING = ".removing-"
_NEEDS = {"device": ("type",), "type": ("device",), "o": ("device", "type")}


class LocalVolumes:
    """The local driver. All methods are called on the event loop."""

    name = "local"

    def __init__(self, data_root: Path, store: Store) -> None:
        self._root = data_root / "volumes"
        self._store = store
        self._records: dict[str, VolumeRecord] = {}
        self._pins: Counter[str] = Counter()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._removals: set[asyncio.Task[None]] = set()  # and unmounts
        self._mounts = DeviceMounts(self._root)

    async def open(self) -> None:
        """Read what is there; finish or undo what a crash cut off."""
        self._records = {record.name: record for record in await self._store.read(table.all)}
        found = await asyncio.to_thread(_reconcile, self._root, frozenset(self._records))
        for record in found.adopted:
            log.warning("the directory of volume %s has no record: it is taken as a volume", record.name)
            await self._store.write(lambda tx, record=record: table.put(tx, record))  # type: ignore[misc]
            self._records[record.name] = record
        for path in found.garbage:
            self._delete_later(path)
        await self._mounts.adopt(self._records)

    async def close(self) -> None:
        """Finish removals that are under way; what is mounted for a container stays."""
        await asyncio.gather(*self._removals)
        self._mounts.close()

    def get(self, name: str) -> VolumeRecord:
        """Return a volume. Raises `NotFound`."""
        record = self._records.get(name)
        if record is None:
            raise NotFound(f"get {name}: no such volume")
        return record

    def exists(self, name: str) -> bool:
        """Tell whether there is a volume of this name."""
        return name in self._records

    def list(self) -> list[VolumeRecord]:
        """Return all volumes by name."""
        return [self._records[name] for name in sorted(self._records)]

    def path(self, record: VolumeRecord) -> str:
        """Return the directory on the host that is mounted."""
        return str(self._root / record.name / "_data")

    async def create(self, request: VolumeCreate, anonymous: bool = False) -> VolumeRecord:
        """Make a volume and return it; one that exists is returned as it is, whatever else is asked."""
        anonymous = anonymous or not request.name
        name = request.name or new_id()
        _check_driver(name, request.driver)
        async with self._lock(name):
            if name in self._records:
                return self._records[name]
            _check_name(name)
            _check_options(name, request.driver_opts or {})
            labels = dict(request.labels or {})
            if anonymous:
                labels[ANONYMOUS_LABEL] = ""
            record = VolumeRecord(
                name=name,
                created_at=time.time_ns(),
                labels=labels,
                options=dict(request.driver_opts or {}),
                anonymous=anonymous,
            )
            try:
                await asyncio.to_thread(_make, self._root / name)
            except OSError as error:
                raise _failure(f"create {name}", error) from error
            await self._store.write(lambda tx: table.put(tx, record))
            self._records[name] = record
            return record

    def hold(self, name: str, holder: str) -> None:
        """Say that `holder` runs with the volume, whose file system an earlier daemon has mounted if it has one."""
        if self._has_device(name):
            self._mounts.hold(name, holder)

    async def mount(self, name: str, holder: str) -> None:
        """See that the volume's file system is there, until `holder` releases it; nothing to do for a directory.

        Raises `NotFound`, and `Internal` when it cannot be mounted.
        """
        if not self._has_device(name):
            return
        self._mounts.hold(name, holder)
        try:
            async with self._lock(name):
                await self._mounts.mount(name, self.get(name).options)
        except BaseException:
            self.release(name, holder)
            raise

    def release(self, name: str, holder: str) -> None:
        """`holder` needs the volume's file system no more; without a holder it is unmounted soon."""
        if self._mounts.release(name, holder):
            self._later(self._unmount(name), f"unmount {name}")

    def settle(self) -> None:
        """Unmount what an earlier daemon has mounted and nobody came to `hold`."""
        for name in self._mounts.unheld():
            self._later(self._unmount(name), f"unmount {name}")

    def _has_device(self, name: str) -> bool:
        record = self._records.get(name)
        return record is not None and needs_mount(record.options)

    async def _unmount(self, name: str) -> None:
        try:
            async with self._lock(name):
                await self._mounts.unmount(name)
        except OSError as error:
            log.error("volume %s stays mounted: %s", name, error)

    @contextmanager
    def pin(self, *names: str) -> Iterator[None]:
        """Keep volumes from being removed while the context is open."""
        self._pins.update(names)
        try:
            yield
        finally:
            self._pins.subtract(names)
            for name in names:
                if self._pins[name] <= 0:
                    del self._pins[name]

    async def populate(self, record: VolumeRecord, root_fd: int, path: str, subpath: str = "") -> bool:
        """Copy the directory `path` below `root_fd` into the volume if that is empty; tell whether it was.

        `root_fd` must stay open until this returns. A failure leaves the volume empty.
        """
        async with self._lock(record.name):
            try:
                return await asyncio.to_thread(copy_up, root_fd, path, self.path(record), subpath)
            except OSError as error:
                raise _failure("failed to populate volume", error) from error

    async def remove(self, name: str, force: bool = False) -> None:
        """Remove a volume that nobody uses. Raises `NotFound` (unless `force`) and `Conflict`."""
        async with self._lock(name):
            if name not in self._records:
                if force:
                    return
                raise NotFound(f"get {name}: no such volume")
            if self._pins[name] > 0 or self._mounts.held(name):
                raise Conflict(f"remove {name}: volume is in use")
            directory, doomed = self._root / name, self._root / f"{_REMOVING}{name}.{new_id()[:12]}"
            try:
                await self._mounts.unmount(name)
                await asyncio.to_thread(_set_aside, directory, doomed)
            except OSError as error:
                raise _failure(f"remove {name}", error) from error
            try:
                await self._store.write(lambda tx: table.delete(tx, name), frees=True)
            except Error:
                await asyncio.to_thread(doomed.rename, directory)
                raise
            del self._records[name]
            self._delete_later(doomed)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    def _delete_later(self, path: Path) -> None:
        self._later(_delete(path), f"remove {path.name}")

    def _later(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a start found on disk beside the volumes it knows."""

    adopted: list[VolumeRecord] = field(default_factory=list)
    garbage: list[Path] = field(default_factory=list)


def _reconcile(root: Path, known: frozenset[str]) -> _Found:
    """Compare the directories below `root` with the names of volumes; mend what can be mended at once."""
    root.mkdir(mode=0o701, parents=True, exist_ok=True)
    found = _Found()
    for directory in sorted(root.iterdir()):
        name = directory.name
        if name.startswith(_REMOVING):
            original = name.removeprefix(_REMOVING).rpartition(".")[0]
            if original in known and not (root / original).exists():
                directory.rename(root / original)
            else:
                found.garbage.append(directory)
        elif name not in known and is_name(name) and directory.is_dir() and not directory.is_symlink():
            data = directory / "_data"
            if data.is_dir() and any(data.iterdir()):
                found.adopted.append(VolumeRecord(name=name, created_at=data.stat().st_mtime_ns))
            else:
                found.garbage.append(directory)
    for name in known:
        if not _has_data(root / name):
            log.warning("the directory of volume %s is missing: it is made anew, empty", name)
            _make(root / name)
    return found


def _has_data(directory: Path) -> bool:
    """Tell whether there is a ``_data``, without a look at what may be mounted there: a server may not answer."""
    try:
        with os.scandir(directory) as entries:
            return any(entry.name == "_data" and entry.is_dir() for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _make(directory: Path) -> None:
    directory.mkdir(mode=0o701, exist_ok=True)
    data = directory / "_data"
    data.mkdir(exist_ok=True)
    data.chmod(0o755)  # whatever the umask says


def _set_aside(directory: Path, doomed: Path) -> None:
    try:
        directory.rename(doomed)
    except FileNotFoundError:
        doomed.mkdir(mode=0o701, exist_ok=True)  # somebody deleted the files: what is left to remove is the record


async def _delete(path: Path) -> None:
    try:
        await asyncio.to_thread(_remove_files, path)
    except OSError as error:
        log.warning("%s cannot be deleted now, the next start tries again: %s", path, error)


def _remove_files(path: Path) -> None:
    unmount_below(str(path))  # what a crash left mounted there is not the volume's to delete
    remove_tree(path)


def _check_name(name: str) -> None:
    if len(name) == 1:
        raise InvalidArgument(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if not is_name(name) or len(os.fsencode(name)) > 200:
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only "{NAME_CHARACTERS}" '
            "are allowed. If you intended to pass a host directory, use absolute path"
        )


def _check_driver(name: str, driver: str) -> None:
    if driver not in ("", "local"):
        raise NotFound(f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found')


def _check_options(name: str, options: Mapping[str, str]) -> None:
    for option in options:
        if option not in (*_NEEDS, "size"):
            raise InvalidArgument(f'create {name}: invalid option: "{option}"')
    try:
        check_device(options)
    except InvalidArgument as error:
        raise InvalidArgument(f"create {name}: {error.message}") from None
    if "size" in options and parse_binary_size(options["size"]) > 0:
        raise InvalidArgument(f"create {name}: quota size requested but no quota support")
    for option, needed in _NEEDS.items():
        for other in needed:
            if option in options and other not in options:
                raise InvalidArgument(f'create {name}: missing required option: "{other}"')


def _failure(what: str, error: OSError) -> Error:
    """Return what a client is told: a full disk is not the daemon's fault."""
    kind = Unavailable if error.errno in (errno.ENOSPC, errno.EDQUOT) else Internal
    return kind(f"{what}: {error.strerror or error}")
