"""The mounts of a new container: sources checked or made, volumes created and filled, records written.

What is asked is resolved by `orlop.volume.resolve` without looking at anything; here the host, the volumes and the
image are looked at. Volumes that were made for a container that could not be created are removed again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from orlop.engine.volumes import events as volume_events
from orlop.engine.volumes.remove import remove as remove_volume
from orlop.errors import Conflict, Error, InvalidArgument, NotFound
from orlop.formats import identity
from orlop.linux.mount import detached_overlay
from orlop.linux.openat2 import open_in_root
from orlop.model.api.container import ContainerConfig, HostConfig
from orlop.model.api.volume import VolumeCreate
from orlop.model.record import ImageRecord, MountRecord, VolumeRecord
from orlop.volume.resolve import MountRequest, missing_source, resolve, volumes_from

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["plan", "realised"]

log = logging.getLogger(__name__)


def plan(engine: Engine, config: ContainerConfig, host: HostConfig) -> list[MountRequest]:
    """Return the mounts that a container asks for. Raises `InvalidArgument`; nothing is made yet."""
    inherited = []
    for source in volumes_from(host):
        try:
            inherited.append((source, engine.containers.resolve(source.container).record.mounts))
        except NotFound as error:
            raise InvalidArgument(error.message) from None
    return resolve(host, list(config.volumes or ()), inherited)


@asynccontextmanager
async def realised(
    engine: Engine, requests: Sequence[MountRequest], image: ImageRecord
) -> AsyncIterator[tuple[MountRecord, ...]]:
    """Make what the mounts need and give their records; if the body fails, volumes that were made for it go again."""
    made: list[str] = []
    with ExitStack() as pins:
        try:
            records = [await _realise(engine, request, image, made, pins) for request in requests]
            yield tuple(records)
        except BaseException:
            pins.close()
            await _remove(engine, made)
            raise


async def _remove(engine: Engine, names: list[str]) -> None:
    """Remove volumes that were made for nothing; what fails is logged, since it is not what the client has to know."""
    for name in names:
        try:
            await remove_volume(engine, name, force=True)
        except Conflict:  # somebody else has come to use it
            continue
        except Error as error:
            log.warning("volume %s, made for a container that could not be created, stays: %s", name, error)


async def _realise(
    engine: Engine, request: MountRequest, image: ImageRecord, made: list[str], pins: ExitStack
) -> MountRecord:
    if request.type == "bind" and request.inherited is None:
        await asyncio.to_thread(_check_source, request)
    if request.type != "volume":
        return MountRecord(
            type=cast(Literal["bind", "tmpfs"], request.type),
            destination=request.destination,
            source=request.source,
            mode=request.mode,
            rw=request.rw,
            propagation=request.propagation,
            options=request.options,
        )
    if request.inherited is not None:
        pins.enter_context(engine.volumes.pin(request.name))
        return msgspec.structs.replace(request.inherited, rw=request.rw, from_image=False)
    return await _volume(engine, request, image, made, pins)


async def _volume(
    engine: Engine, request: MountRequest, image: ImageRecord, made: list[str], pins: ExitStack
) -> MountRecord:
    existed = engine.volumes.exists(request.name)
    body = VolumeCreate(
        name=request.name,
        driver=request.driver,
        driver_opts=dict(request.driver_options) or None,
        labels=dict(request.labels) or None,
    )
    record = await engine.volumes.create(body, anonymous=request.anonymous)
    pins.enter_context(engine.volumes.pin(record.name))
    if not existed:
        made.append(record.name)
        volume_events.publish(engine, record, "create")
    source = engine.volumes.path(record)
    if request.copy:
        holder = identity.new_id()
        await engine.volumes.mount(record.name, holder)
        try:
            await _fill(engine, request, image, record)
        finally:
            engine.volumes.release(record.name, holder)
    return MountRecord(
        type="volume",
        destination=request.destination,
        source=source,
        name=record.name,
        driver=record.driver,
        mode=request.mode,
        rw=request.rw,
        propagation=request.propagation,
        options=request.options,
        subpath=request.subpath,
        from_image=request.anonymous,
    )


async def _fill(engine: Engine, request: MountRequest, image: ImageRecord, record: VolumeRecord) -> None:
    """Fill a new volume, or an empty directory of it, with what it hides of the image."""
    root = await asyncio.to_thread(_image_view, engine, image, request.destination)
    try:
        await engine.volumes.populate(record, root, request.destination, request.subpath)
    finally:
        os.close(root)


def _image_view(engine: Engine, image: ImageRecord, path: str) -> int:
    """Mount the image's layers, read-only and detached; return a directory descriptor.

    Raises `InvalidArgument` if `path`, which a volume is to hide, is no directory there.
    """
    layers = engine.images.layers.directories(image)
    fd = os.open(layers[0], os.O_PATH | os.O_DIRECTORY) if len(layers) == 1 else detached_overlay(layers, "", "")
    try:
        _check_hidden(fd, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check_source(request: MountRequest) -> None:
    path = Path(request.source)
    if path.exists():
        return
    if not request.create_source:
        raise missing_source(request.source)
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgument(
            f"error while creating mount source path '{request.source}': mkdir {error.filename}: {error.strerror}"
        ) from None


def _check_hidden(root: int, path: str) -> None:
    """A volume cannot hide what is a file in the image."""
    try:
        fd = open_in_root(root, path, os.O_PATH)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise InvalidArgument(f"cannot mount volume over existing file, file exists {path}")
    finally:
        os.close(fd)
