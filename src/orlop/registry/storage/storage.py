"""The storage of a registry, as its server sees it: the nouns, and the Protocols that an implementation fulfils.

A *blob* is bytes with a digest. A *repository* names the blobs and manifests that may be had through it; a blob is
kept once, however many repositories name it. A *manifest* comes after everything that it refers to; a *tag* names one
manifest and changes at once. An *upload* grows until it is committed as a blob: it can be left and taken up again,
also after a restart, and expires when nobody does.

Every write that returned is durable. Whoever is told that a blob or a manifest is there (by `Repository.blob_size`,
`mount`, `missing` or the end of an upload) may rely on it for a while: no collection removes it within the grace.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from orlop.errors import InvalidArgument, NotFound
from orlop.formats.digest import Digest
from orlop.model.oci.documents import Descriptor

__all__ = [
    "Blob",
    "BlobUnknown",
    "Collection",
    "DigestMismatch",
    "ManifestUnknown",
    "Report",
    "Repository",
    "RepositoryUnknown",
    "Storage",
    "StoredManifest",
    "Upload",
    "UploadUnknown",
]


class BlobUnknown(NotFound):
    """The repository names no such blob."""


class ManifestUnknown(NotFound):
    """The repository has no such manifest or tag."""


class RepositoryUnknown(NotFound):
    """Nothing was ever pushed to the repository."""


class UploadUnknown(NotFound):
    """The upload has ended, has expired or never was."""


class DigestMismatch(InvalidArgument):
    """What was uploaded has another digest than was said."""


@dataclass(frozen=True, slots=True)
class Blob:
    """An open blob, which its user closes; it stays readable if it is removed meanwhile. `size` is in bytes."""

    file: BinaryIO
    size: int


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest: the very bytes that were pushed and the media type that they were pushed as."""

    digest: Digest
    media_type: str
    data: bytes


class Upload(Protocol):
    """A blob that is being uploaded. One request at a time uses it."""

    @property
    def id(self) -> str:
        """The name by which the client comes back to it."""

    @property
    def offset(self) -> int:
        """The bytes that are there."""

    async def write(self, blocks: Sequence[bytes]) -> None:
        """Append blocks. Raises `OSError`."""

    async def commit(self, digest: Digest) -> None:
        """Make it a blob of the repository, and end it. Raises `DigestMismatch`; the upload ends then too."""

    async def cancel(self) -> None:
        """End it, and forget what was uploaded."""


class Repository(Protocol):
    """One repository, which need not exist yet."""

    async def blob_size(self, digest: Digest) -> int:
        """Return the bytes of a blob. Raises `BlobUnknown`."""

    async def open_blob(self, digest: Digest) -> Blob:
        """Open a blob. Raises `BlobUnknown`."""

    async def mount(self, digest: Digest, source: str) -> bool:
        """Name a blob that the repository `source` names; False if that does not."""

    async def delete_blob(self, digest: Digest) -> None:
        """Name a blob no longer. Raises `BlobUnknown`."""

    async def begin_upload(self, algorithm: str) -> Upload:
        """Begin an upload; `algorithm` is that of the digest as far as one can tell."""

    async def upload(self, id: str) -> Upload:
        """Return an upload that was begun in this repository. Raises `UploadUnknown`."""

    async def resolve(self, tag: str) -> Digest:
        """Return the digest of the manifest that a tag names. Raises `ManifestUnknown`."""

    async def manifest(self, digest: Digest) -> StoredManifest:
        """Return a manifest. Raises `ManifestUnknown`."""

    async def missing(self, blobs: Iterable[Digest], manifests: Iterable[Digest]) -> list[Digest]:
        """Return which of these are not in the repository. A manifest may also have been pushed as a blob."""

    async def put_manifest(
        self, manifest: StoredManifest, tags: Sequence[str], subject: Digest | None, descriptor: Descriptor
    ) -> None:
        """Keep a manifest and let `tags` name it; list it as `descriptor` among the referrers of `subject`."""

    async def delete_manifest(self, digest: Digest) -> None:
        """Remove a manifest and all tags that name it. Raises `ManifestUnknown`."""

    async def delete_tag(self, tag: str) -> None:
        """Remove a tag. Raises `ManifestUnknown`."""

    async def tags(self) -> list[str]:
        """Return all tags, in no order. Raises `RepositoryUnknown`."""

    async def referrers(self, subject: Digest) -> list[Descriptor]:
        """Return the manifests whose subject is `subject`, by digest."""


@dataclass(frozen=True, slots=True)
class Collection:
    """How to collect: nothing goes that was pushed or asked for within `grace` seconds.

    `untagged`: remove also manifests that neither a tag nor a kept index names, and that refer to no kept subject.
    `dry_run`: only say what would go.
    """

    grace: float
    untagged: bool = False
    dry_run: bool = False


@dataclass(slots=True)
class Report:
    """What a collection removed, or would have: `bytes` are those of the blobs (manifests are blobs too)."""

    manifests: int = 0
    blobs: int = 0
    bytes: int = 0
    kept_blobs: int = 0
    recent_blobs: int = 0


class Storage(Protocol):
    """All repositories."""

    def repository(self, name: str) -> Repository:
        """Return the repository `name`, a valid name."""

    async def repositories(self) -> list[str]:
        """Return the names of the repositories that have manifests, in no order."""

    async def collect(self, how: Collection) -> Report:
        """Remove what nothing refers to. Pushes and pulls may go on meanwhile."""

    async def expire_uploads(self, age: float) -> int:
        """End the uploads that nobody wrote to for `age` seconds; return how many."""

    async def close(self) -> None:
        """Give back what it holds."""
