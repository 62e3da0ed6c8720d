"""`DELETE /images/{name}`: take a name from an image, or the image away, by Docker's rules.

A name given removes that name, and the image with its last one. An id given removes all names if they are of one
repository. A running container keeps its image in any case; a stopped one, and several repositories, unless forced.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from orlop.engine.images.attributes import labels_of, publish
from orlop.errors import Conflict, NotFound
from orlop.formats import reference
from orlop.formats.identity import chain_ids, short_id
from orlop.formats.reference import Reference
from orlop.model.record import ContainerRecord, ImageRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["remove"]

Json = dict[str, Any]
_RUNNING = ("running", "paused", "restarting")


async def remove(engine: Engine, name: str, *, force: bool = False, noprune: bool = False) -> list[Json]:
    """Remove a name or an image; return what was untagged and deleted.

    There are no parents without a name here, so that `noprune` changes nothing. Raises `Conflict` and `NotFound`.
    """
    record = engine.images.resolve(name)
    return await _Removal(engine, record, force).run(name)


class _Removal:
    def __init__(self, engine: Engine, record: ImageRecord, force: bool) -> None:
        self.engine = engine
        self.record = record
        self.force = force
        self.answer: list[Json] = []

    def names(self) -> list[Reference]:
        return self.engine.images.references(self.record.id)

    async def run(self, name: str) -> list[Json]:
        by_name = not _is_id(self.record.id, name)
        names = self.names()
        if by_name:
            if not self.force and _one_repository(names):
                self.check_reference(name)
            given = reference.parse(name).tagged()
            await self.untag(given)
            await self.untag_digests(given)
            if self.names():
                return self.answer
        elif _one_repository(names):
            self.check(references=False)
            for each in names:
                await self.untag(each)
        try:
            self.check(references=True)
        except Conflict as conflict:
            if by_name and isinstance(conflict, _InUse):
                return self.answer  # the name is gone, as was asked; the image stays for its containers
            raise
        for each in self.names():
            await self.untag(each)
        await self.delete()
        return self.answer

    def check_reference(self, name: str) -> None:
        container = next(iter(self.containers()), None)
        if container is not None:
            raise Conflict(
                f'conflict: unable to remove repository reference "{name}" (must force) - container '
                f"{short_id(container.id)} is using its referenced image {short_id(self.record.id)}"
            )

    def check(self, *, references: bool) -> None:
        """Raise `Conflict` if the image must stay."""
        running = next((item for item in self.containers() if item.state.status in _RUNNING), None)
        if running is not None:
            raise self.conflict(f"image is being used by running container {short_id(running.id)}", hard=True)
        if self.force:
            return
        if references and self.names():
            raise self.conflict("image is referenced in multiple repositories")
        stopped = next(iter(self.containers()), None)
        if stopped is not None:
            raise self.conflict(f"image is being used by stopped container {short_id(stopped.id)}")

    def conflict(self, reason: str, *, hard: bool = False) -> Conflict:
        manner = "cannot be forced" if hard else "must be forced"
        error = _InUse if "container" in reason else Conflict
        return error(f"conflict: unable to delete {short_id(self.record.id)} ({manner}) - {reason}")

    def containers(self) -> Iterable[ContainerRecord]:
        return [item.record for item in self.engine.containers if item.record.image_id == self.record.id]

    async def untag(self, name: Reference) -> None:
        await self.engine.images.untag(name)
        self.answer.append({"Untagged": name.familiar()})
        publish(self.engine, "untag", self.record.id, self.record.id)

    async def untag_digests(self, given: Reference) -> None:
        """With the last tag of a repository its digests go too."""
        rest = [name for name in self.names() if name.name == given.name]
        if given.digest is None and all(name.digest is not None for name in rest):
            for name in rest:
                await self.untag(name)

    async def delete(self) -> None:
        labels = self.labels()
        chains = self.unshared_chains()
        await self.engine.images.delete(self.record.id, in_use=bool(self.containers()))
        publish(self.engine, "delete", self.record.id, self.record.id, labels)
        self.answer.append({"Deleted": self.record.id})
        self.answer.extend({"Deleted": chain} for chain in chains)

    def labels(self) -> dict[str, str]:
        try:
            return labels_of(self.engine, self.record)
        except NotFound:
            return {}  # its configuration is lost: one more reason to let it be removed

    def unshared_chains(self) -> list[str]:
        """Return the chain ids of the layers that go with the image, topmost first."""
        if self.containers():
            return []
        others: set[str] = set()
        for other in self.engine.images:
            if other.id != self.record.id:
                others.update(chain_ids(layer.diff_id for layer in other.layers))
        return [
            chain for chain in reversed(chain_ids(layer.diff_id for layer in self.record.layers)) if chain not in others
        ]


class _InUse(Conflict):
    """A container has the image."""


def _is_id(image_id: str, text: str) -> bool:
    """Tell whether `text` is the id or the beginning of it."""
    return image_id.startswith(text) or image_id.partition(":")[2].startswith(text)


def _one_repository(names: list[Reference]) -> bool:
    """Tell whether there is at most one tag, and no digest of another repository."""
    tags = [name for name in names if name.digest is None]
    repositories = {name.name for name in names}
    return len(names) <= 1 or (len(tags) <= 1 and len(repositories) == 1)
