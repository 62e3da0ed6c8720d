"""`POST /commit`: an image of what a container has changed.

The container is paused while its files are read, unless that is not wanted. The layer comes in as a loaded one does:
its tar is kept, from which it can be rebuilt, and unpacked; so the image shows here what it shows wherever it is taken.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from orlop.engine.containers import events, pause
from orlop.engine.containers.registry import Container
from orlop.engine.images import attributes
from orlop.engine.images.tag import parse_target
from orlop.errors import Conflict, Error, NotFound
from orlop.formats.tar.output import Write
from orlop.image.apart import apart
from orlop.image.changes import apply_changes
from orlop.image.compression import Compression
from orlop.image.depot import Depot
from orlop.image.derive import configuration, derive, hold
from orlop.image.intake import LayerIntake
from orlop.image.layer_tar import opened
from orlop.image.leases import Lease
from orlop.image.placeholders import PLACEHOLDERS
from orlop.image.unpack import Limits
from orlop.model.api.container import ContainerConfig
from orlop.model.record import ContainerRecord, ImageRecord, Rootfs
from orlop.runtime.process import INIT_PATH

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["commit", "image_config", "merged"]

Json = dict[str, Any]
T = TypeVar("T")

_FIELDS = (
    *("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels"),
    *("StopSignal", "StopTimeout", "ArgsEscaped", "Healthcheck", "OnBuild", "Shell"),
)
"""What of a container's configuration is an image's, too: not its names, not its terminal."""
_JOINED = ("ExposedPorts", "Volumes", "Labels")


async def commit(
    engine: Engine,
    ref: str,
    *,
    repo: str = "",
    tag: str = "",
    author: str = "",
    comment: str = "",
    pause: bool = True,
    changes: Sequence[str] = (),
    config: ContainerConfig | None = None,
) -> str:
    """Make an image of a container, name it if `repo` is given, and return its id.

    `config` replaces the container's configuration as the base of `changes` (Dockerfile instructions); what it does
    not say the container's fills in. Raises `NotFound`, `InvalidArgument` and `Conflict`; then nothing is left.
    """
    target = parse_target(repo, tag) if repo else None
    container = engine.containers.resolve(ref)
    _check(container)
    own = image_config(container.record.config)
    merged_config = merged(apply_changes(own if config is None else image_config(config), list(changes)), own)
    parent = engine.images.get(container.record.image_id)
    lease = engine.images.lease()
    work = _Commit(engine.images.depot, lease, parent)
    try:
        await _finished(work.hold, work.stop)
        rootfs = engine.snapshots.prepare(container.id, parent)
        async with _still(engine, container, pause):
            await _finished(lambda: work.read(rootfs, _mount_points(container.record), container.state.pid), work.stop)
        if container.gone:
            raise NotFound(f"No such container: {ref}")

        def describe(diff_id: str | None) -> bytes:
            return configuration(
                engine.images.config(parent),
                merged_config,
                created_at=time.time_ns(),
                created_by=" ".join(container.record.config.cmd or ()),
                author=author,
                comment=comment,
                diff_id=diff_id,
            )

        record = await _finished(lambda: work.finish(describe), work.stop)
        await engine.images.add([(record, [target] if target else [])], tagged=True)
    finally:
        await asyncio.to_thread(work.close)
    name = target.familiar() if target else ""
    if target:
        attributes.publish(engine, "tag", record.id, name)
    events.publish(engine, container, "commit", comment=comment, imageID=record.id, imageRef=name)
    return record.id


def image_config(config: ContainerConfig) -> Json:
    """Return the ``config`` object of an image with a container's configuration."""
    fields = msgspec.to_builtins(config)
    for words in ("Cmd", "Entrypoint"):
        if isinstance(fields.get(words), str):
            fields[words] = [fields[words]]
    return {field: fields[field] for field in _FIELDS if fields.get(field)}


def merged(asked: Json, own: Json) -> Json:
    """Return `asked` with what only the container's `own` configuration says, as dockerd joins them on a commit."""
    result = {**own, **{key: value for key, value in asked.items() if value}}
    for field in _JOINED:
        if own.get(field) and asked.get(field):
            result[field] = {**own[field], **asked[field]}
    if own.get("Env") and asked.get("Env"):
        names = {entry.partition("=")[0] for entry in asked["Env"]}
        result["Env"] = [*asked["Env"], *(entry for entry in own["Env"] if entry.partition("=")[0] not in names)]
    if own.get("Healthcheck") and asked.get("Healthcheck"):
        result["Healthcheck"] = {**own["Healthcheck"], **asked["Healthcheck"]}
    if asked.get("Entrypoint") and not asked.get("Cmd"):
        result.pop("Cmd", None)  # a command is meant for the entrypoint that it was given with
    return {field: result[field] for field in _FIELDS if result.get(field)}


class _Commit:
    """The work that is done in threads, one step after the other. `stop` lets a step end early."""

    def __init__(self, depot: Depot, lease: Lease, parent: ImageRecord) -> None:
        self._depot = depot
        self._lease = lease
        self._parent = parent
        self._intake: LayerIntake | None = None
        self._stopped = threading.Event()
        self.stop = self._stopped.set

    def hold(self) -> None:
        """Keep the parent."""
        hold(self._depot, self._lease, self._parent)

    def read(self, rootfs: Rootfs, mount_points: set[str], pid: int) -> None:
        """Read the container's changes; they are being taken in when this returns."""
        with opened(rootfs, mount_points, self._stopped.is_set, pid=pid) as layer:
            if layer.empty:
                return
            self._intake = intake = LayerIntake(self._depot, self._lease, Compression.NONE, None, Limits())
            try:
                layer.write(self._feeding(intake))
            finally:
                intake.finish()

    def finish(self, describe: Callable[[str | None], bytes]) -> ImageRecord:
        """Put the image in place; `describe` makes its configuration of the new layer's diff id."""
        layer = self._intake.result() if self._intake else None
        data = describe(layer.record.diff_id if layer else None)
        return derive(self._depot, self._lease, self._parent, layer, data)

    def close(self) -> None:
        """Drop what has not found its place."""
        if self._intake is not None:
            self._intake.abandon()
        self._lease.release()

    def _feeding(self, intake: LayerIntake) -> Write:
        def feed(block: bytes) -> None:
            if self._stopped.is_set():
                raise Conflict("the commit was broken off")
            if intake.failed:
                intake.finish()
                intake.result()  # raises what went wrong
            intake.feed(block)

        return feed


def _check(container: Container) -> None:
    if container.state.status == "dead":
        raise Conflict(f"You cannot commit container {container.id} which is Dead")
    if container.state.status == "removing":
        raise Conflict(f"You cannot commit container {container.id} which is being removed")


def _mount_points(record: ContainerRecord) -> set[str]:
    """Return where something is, or may be, mounted in a container."""
    init = {INIT_PATH} if record.host_config.init else set()
    return {*PLACEHOLDERS, *init, *(record.host_config.tmpfs or ()), *(mount.destination for mount in record.mounts)}


@asynccontextmanager
async def _still(engine: Engine, container: Container, wanted: bool) -> AsyncIterator[None]:
    """Keep a running container from changing anything; it goes on afterwards, whatever happened."""
    paused = False
    if wanted and container.state.status == "running":
        with suppress(Conflict):  # it ended, or somebody else paused it
            await pause.pause(engine, container.id)
            paused = True
    try:
        yield
    finally:
        if paused:
            await asyncio.shield(_go_on(engine, container))


async def _go_on(engine: Engine, container: Container) -> None:
    with suppress(Conflict, NotFound):  # it was killed or removed, or goes on already
        await pause.unpause(engine, container.id)


async def _finished(step: Callable[[], T], stop: Callable[[], None]) -> T:
    """Run a step in a thread; when the caller is cancelled, `stop` it and wait for its end all the same."""
    working = apart(step, "container-commit")
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        stop()
        with suppress(Error, OSError):
            await working
        raise
