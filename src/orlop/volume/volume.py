"""The volume: a directory that outlives containers and is shared by them.

A volume is *created* (a record and an empty directory), *populated* once from the image's directory that it hides, if
it is still empty then, *pinned* while a container that will use it is being made, *mounted* while containers run with
it (a directory always is), and *removed* when nobody uses it.
The package does not know containers: who uses a volume is the engine's knowledge, which asks before it removes.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from orlop.model.api.volume import VolumeCreate
from orlop.model.record import VolumeRecord

__all__ = ["ANONYMOUS_LABEL", "Driver"]

ANONYMOUS_LABEL = "com.docker.volume.anonymous"
"""The label (without a value) by which Docker's clients know a volume that nobody named."""


class Driver(Protocol):
    """A kind of volume."""

    name: str

    async def open(self) -> None:
        """Read what is there; finish or undo what a crash cut off."""

    async def create(self, request: VolumeCreate, anonymous: bool = False) -> VolumeRecord:
        """Make a volume and return it; one that exists is returned as it is, whatever else is asked.

        Without a name, or when `anonymous`, it is nobody's: pruning takes it first, and it carries `ANONYMOUS_LABEL`.
        Raises `errors.InvalidArgument` for a bad name or option.
        """

    def get(self, name: str) -> VolumeRecord:
        """Return a volume. Raises `errors.NotFound`."""

    def exists(self, name: str) -> bool:
        """Tell whether there is a volume of this name."""

    def list(self) -> list[VolumeRecord]:
        """Return all volumes by name."""

    def pin(self, *names: str) -> AbstractContextManager[None]:
        """Keep volumes from being removed while the context is open."""

    async def populate(self, record: VolumeRecord, root_fd: int, path: str) -> bool:
        """Copy the directory `path` below `root_fd` into the volume if that is empty; tell whether it was."""

    async def remove(self, name: str, force: bool = False) -> None:
        """Remove a volume that nobody uses. Raises `errors.NotFound` (unless `force`) and `errors.Conflict`."""

    async def mount(self, name: str, holder: str) -> None:
        """See that what is in the volume is there, until `holder` releases it. Raises `errors.Internal`."""

    def release(self, name: str, holder: str) -> None:
        """`holder` needs what is in the volume no more."""

    def hold(self, name: str, holder: str) -> None:
        """Say that `holder` runs with the volume, since the time of an earlier daemon."""

    def settle(self) -> None:
        """Let go of what an earlier daemon has made ready and nobody came to `hold`."""

    def path(self, record: VolumeRecord) -> str:
        """Return the directory on the host that is mounted."""

    async def close(self) -> None:
        """Finish removals that are under way."""
