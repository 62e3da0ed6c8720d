"""`DELETE /images/{name}`: take a name from an image, or the image away, by Docker's rules.

A name given removes that name, and the image with its last one. An id given removes all names if they are of one
repository. Two conflicts are *hard*: another image was committed from it, or a running container uses it. Two are
*soft*, overcome by force: names in several repositories, a stopped container. An image that goes takes its parents
along, as far as they have no names and no conflicts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orlop.engine.images.attributes import labels_of, publish
from orlop.engine.images.platform import resolve
from orlop.errors import Conflict, InvalidArgument, NotFound
from orlop.formats import reference
from orlop.formats.identity import chain_ids, short_id
from orlop.formats.reference import Reference
from orlop.model.record import ContainerRecord, ImageRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["children", "remove", "take_away"]

Json = dict[str, Any]

_RUNNING = ("running", "paused", "restarting")
_PATIENCE = 30.0  # seconds that an answer waits for files to be gone


async def remove(
    engine: Engine, name: str, *, force: bool = False, noprune: bool = False, platforms: Sequence[str] = ()
) -> list[Json]:
    """Remove a name or an image; return what was untagged and deleted.

    What nothing else uses is off the disk when this returns, unless that takes very long: then the rest goes on
    behind, and `/system/df` counts it as temporary. With `noprune` parents without a name stay. `platforms` (JSON)
    is the one that the image must be for. Raises `Conflict`, `NotFound` and `InvalidArgument`.
    """
    if len(platforms) > 1:
        raise InvalidArgument("multiple platforms are not supported")
    resolve(engine, name, *platforms)
    answer = await take_away(engine, name, force=force, noprune=noprune)
    await settle(engine)
    return answer


async def take_away(engine: Engine, name: str, *, force: bool = False, noprune: bool = False) -> list[Json]:
    """Do what `remove` does, but for waiting until the files are gone."""
    removal = _Removal(engine, force=force, prune=not noprune)
    record = engine.images.resolve(name)
    if _is_id(record.id, name):
        await removal.by_id(record)
    else:
        await removal.by_name(record, name)
    return removal.answer


async def settle(engine: Engine) -> None:
    """Wait until what was removed is off the disk, but not for ever."""
    await asyncio.to_thread(engine.images.scratch.settle, _PATIENCE)


def children(engine: Engine, image_id: str) -> bool:
    """Tell whether an image was committed from a container of `image_id`."""
    return any(record.parent == image_id for record in engine.images)


class _Removal:
    def __init__(self, engine: Engine, *, force: bool, prune: bool) -> None:
        self.engine = engine
        self.force = force
        self.prune = prune
        self.answer: list[Json] = []

    async def by_name(self, record: ImageRecord, name: str) -> None:
        container = next(iter(self.containers(record)), None)
        if not self.force and container is not None and _one_repository(self.names(record)):
            raise Conflict(
                f'conflict: unable to remove repository reference "{name}" (must force) - container '
                f"{short_id(container.id)} is using its referenced image {short_id(record.id)}"
            )
        given = reference.parse(name).tagged()
        await self.untag(record, given)
        rest = [each for each in self.names(record) if each.name == given.name]
        if given.digest is None and all(each.digest is not None for each in rest):
            for each in rest:  # with the last tag of a repository its digests go too
                await self.untag(record, each, told=False)
        if not self.names(record):
            await self.delete(record, force=self.force, quiet=True)

    async def by_id(self, record: ImageRecord) -> None:
        names = self.names(record)
        if _one_repository(names):
            if conflict := self.conflict(record, force=self.force, names=False):
                raise conflict
            for name in names:
                await self.untag(record, name)
        await self.delete(record, force=self.force, quiet=False)

    async def delete(self, record: ImageRecord, *, force: bool, quiet: bool) -> None:
        """Remove an image and its parents. A `quiet` removal of what is still used or known by name does nothing."""
        if conflict := self.conflict(record, force=force, names=True):
            known = self.names(record) or children(self.engine, record.id)
            if quiet and (known or isinstance(conflict, _InUse)):
                return
            raise conflict
        for name in self.names(record):
            await self.untag(record, name)
        labels, chains = self.labels(record), self.unshared_chains(record)
        await self.engine.images.delete(record.id, in_use=bool(self.containers(record)))
        publish(self.engine, "delete", record.id, record.id, labels)
        self.answer.append({"Deleted": record.id})
        self.answer.extend({"Deleted": chain} for chain in chains)
        parent = next((each for each in self.engine.images if each.id == record.parent), None)
        if self.prune and parent is not None:
            await self.delete(parent, force=False, quiet=True)

    async def untag(self, record: ImageRecord, name: Reference, *, told: bool = True) -> None:
        await self.engine.images.untag(name)
        self.answer.append({"Untagged": name.familiar()})
        if told:
            publish(self.engine, "untag", record.id, record.id)

    def conflict(self, record: ImageRecord, *, force: bool, names: bool) -> Conflict | None:
        """Return what keeps the image; with `force` the hard conflicts alone, of its `names` only if asked."""
        image = short_id(record.id)
        hard = f"conflict: unable to delete {image} (cannot be forced) - "
        soft = f"conflict: unable to delete {image} (must be forced) - "
        if children(self.engine, record.id):
            return Conflict(f"{hard}image has dependent child images")
        containers = self.containers(record)
        running = next((item for item in containers if item.state.status in _RUNNING), None)
        if running is not None:
            return _InUse(f"{hard}image is being used by running container {short_id(running.id)}")
        if force:
            return None
        if names and self.names(record):
            return Conflict(f"{soft}image is referenced in multiple repositories")
        if containers:
            return _InUse(f"{soft}image is being used by stopped container {short_id(containers[0].id)}")
        return None

    def names(self, record: ImageRecord) -> list[Reference]:
        return self.engine.images.references(record.id)

    def containers(self, record: ImageRecord) -> list[ContainerRecord]:
        return [item.record for item in self.engine.containers if item.record.image_id == record.id]

    def labels(self, record: ImageRecord) -> dict[str, str]:
        try:
            return labels_of(self.engine, record)
        except NotFound:
            return {}  # its configuration is lost: one more reason to let it be removed

    def unshared_chains(self, record: ImageRecord) -> list[str]:
        """Return the chain ids of the layers that go with the image, topmost first."""
        if self.containers(record):
            return []
        others: set[str] = set()
        for other in self.engine.images.records():
            if other.id != record.id:
                others.update(chain_ids(layer.diff_id for layer in other.layers))
        for step in self.engine.build_cache:
            others.add(chain_ids([*step.base, step.layer.diff_id])[-1])
        return [chain for chain in reversed(chain_ids(layer.diff_id for layer in record.layers)) if chain not in others]


class _InUse(Conflict):
    """A container has the image."""


def _is_id(image_id: str, text: str) -> bool:
    """Tell whether `text` is the id or the beginning of it."""
    return image_id.startswith(text) or image_id.partition(":")[2].startswith(text)


def _one_repository(names: list[Reference]) -> bool:
    """Tell whether there is at most one tag, and no digest of another repository; of no names at all it is false."""
    tags = [name for name in names if name.digest is None]
    repositories = {name.name for name in names}
    return len(names) == 1 or (len(tags) <= 1 and len(repositories) == 1)
