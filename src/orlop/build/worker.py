"""What the solver asks of those who do the work. The engine hands in a `Worker`; tests hand in others.

Layers are values here: a file system is the sequence of its layers' records, bottom first, all of them in place and
held by a lease. Work that was begun can be cancelled: it ends at once and leaves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from orlop.build.graph import CopyFiles, Exec, Files, Input
from orlop.image.leases import Lease
from orlop.model.record import LayerRecord

__all__ = ["ExecFailed", "ExecJob", "FileSystem", "FilesJob", "Made", "Selected", "Sink", "Worker"]

FileSystem = tuple[LayerRecord, ...]
"""The layers of a node, bottom first."""


@dataclass(frozen=True, slots=True)
class Selected:
    """What a `CopyFiles` takes of its source.

    `digest` covers names, types, modes, contents, link targets, device numbers, capabilities, and the owners where the
    source has some; not times, not hard-link identity. `files` names each file with a fingerprint
    (``<mode> <digest or target>``), in order of the paths; it is for explaining what changed.
    """

    digest: str
    files: tuple[tuple[str, str], ...]
    hashed: int = 0  # files that had to be read for this


class Sink(Protocol):
    """Where a job tells what happens."""

    def output(self, stream: int, data: bytes) -> None:
        """Bytes of a command: stream 1 or 2."""

    def container(self, container_id: str) -> None:
        """The id of the step's container, before its first output."""

    def transfer(self, id: str, current: int, total: int, *, done: bool = False) -> None:
        """How far a download is."""


@dataclass(frozen=True, slots=True)
class FilesJob:
    """Make the layer of a `Files` node. `nodes` has the file systems of the nodes that it copies from."""

    node: Files
    base: FileSystem
    nodes: Mapping[int, FileSystem]
    epoch: int | None = None
    """``SOURCE_DATE_EPOCH`` in seconds: no file written is younger."""


@dataclass(frozen=True, slots=True)
class ExecJob:
    """Run the command of an `Exec` node and make the layer of what it changes."""

    node: Exec
    base: FileSystem
    nodes: Mapping[int, FileSystem]
    epoch: int | None = None
    keep_failed: bool = False
    """Keep the file system of a command that fails (`ExecFailed.kept`)."""


@dataclass(frozen=True, slots=True)
class Made:
    """A new layer, in place and held by the job's lease. `seconds` is what the work took."""

    layer: LayerRecord
    seconds: float


class ExecFailed(Exception):
    """A command ended with another code than 0. `kept` names the kept file system, "" if none was."""

    def __init__(self, code: int, *, oom_killed: bool = False, kept: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.oom_killed = oom_killed
        self.kept = kept


class Worker(Protocol):
    """The hands of one build."""

    async def select(self, action: CopyFiles, nodes: Mapping[int, FileSystem], sink: Sink) -> Selected:
        """Tell what an action would take; fetches a URL or a repository once in a build. Raises `errors.Error`."""

    async def owner_files(self, base: FileSystem) -> str:
        """Return a digest of the base's ``/etc/passwd`` and ``/etc/group``, for owners that are names."""

    async def files(self, job: FilesJob, lease: Lease, sink: Sink) -> Made:
        """Make a layer of files. Raises `errors.Error`."""

    async def execute(self, job: ExecJob, lease: Lease, sink: Sink) -> Made:
        """Run a command and make a layer. Raises `ExecFailed` and `errors.Error`."""

    def fixed(self, source: Input) -> bool:
        """Tell whether `source` is known by its own definition alone, so that it need not be fetched to know a key
        (a Git commit, a URL with a checksum)."""
