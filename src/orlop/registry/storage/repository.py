"""One repository of the local storage, as the server sees it.

What only looks at a few small files is done at once: that takes less time than to ask a thread to do it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from orlop.formats.digest import Digest
from orlop.model.oci.documents import Descriptor
from orlop.registry import references
from orlop.registry.storage import deletions
from orlop.registry.storage.links import Links
from orlop.registry.storage.root import Root
from orlop.registry.storage.storage import (
    Blob,
    BlobUnknown,
    ManifestUnknown,
    RepositoryUnknown,
    StoredManifest,
    Upload,
)
from orlop.registry.storage.uploads import Uploads

__all__ = ["LocalRepository"]


class LocalRepository:
    """A `orlop.registry.storage.storage.Repository`."""

    def __init__(self, root: Root, uploads: Uploads, name: str) -> None:
        self.name = name
        self._root = root
        self._uploads = uploads
        self._links = Links(root, name)

    async def blob_size(self, digest: Digest) -> int:
        if not self._links.renew(digest, manifest=False):
            raise self._no_blob(digest)
        return self._root.content.size(digest)

    async def open_blob(self, digest: Digest) -> Blob:
        if not self._links.has_blob(digest):
            raise self._no_blob(digest)
        try:
            fd = self._root.tree.open(self._root.content_path(digest))
        except FileNotFoundError:
            raise self._no_blob(digest) from None
        return Blob(os.fdopen(fd, "rb", buffering=0), os.fstat(fd).st_size)

    async def mount(self, digest: Digest, source: str) -> bool:
        if not Links(self._root, source).renew(digest, manifest=False):
            return False
        await self._root.run(lambda: self._links.link_blob(digest))
        return True

    async def delete_blob(self, digest: Digest) -> None:
        if not await self._root.run(lambda: self._links.unlink_blob(digest)):
            raise self._no_blob(digest)

    async def begin_upload(self, algorithm: str) -> Upload:
        return await self._root.run(lambda: self._uploads.begin(self.name, algorithm))

    async def upload(self, id: str) -> Upload:
        return self._uploads.find(self.name, id)

    async def resolve(self, tag: str) -> Digest:
        digest = self._links.tagged(tag)
        if digest is None:
            raise self._no_tag(tag)
        return digest

    async def manifest(self, digest: Digest) -> StoredManifest:
        manifest = self._links.manifest(digest)
        if manifest is None:
            raise ManifestUnknown(f"{self.name} has no manifest {digest}")
        return manifest

    async def missing(self, blobs: Iterable[Digest], manifests: Iterable[Digest]) -> list[Digest]:
        wanted = [(digest, False) for digest in blobs] + [(digest, True) for digest in manifests]

        def look() -> list[Digest]:
            return [digest for digest, manifest in wanted if not self._links.renew(digest, manifest=manifest)]

        return await self._root.run(look)

    async def put_manifest(
        self, manifest: StoredManifest, tags: Sequence[str], subject: Digest | None, descriptor: Descriptor
    ) -> None:
        async with self._root.writing(self.name):
            await self._root.run(lambda: self._links.put_manifest(manifest, list(tags), subject, descriptor))

    async def delete_manifest(self, digest: Digest) -> None:
        async with self._root.writing(self.name):
            manifest = await self.manifest(digest)
            subject = references.read_again(manifest.data, manifest.media_type).subject
            await self._root.run(lambda: deletions.delete(self._root, self.name, digest, subject))

    async def delete_tag(self, tag: str) -> None:
        async with self._root.writing(self.name):
            if not await self._root.run(lambda: self._links.drop_tag(tag)):
                raise self._no_tag(tag)

    async def tags(self) -> list[str]:
        def look() -> list[str]:
            if not self._links.has_manifests() and not self._links.blobs():
                raise RepositoryUnknown(f"there is no repository {self.name}")
            return self._links.tags()

        return await self._root.run(look)

    async def referrers(self, subject: Digest) -> list[Descriptor]:
        return await self._root.run(lambda: self._links.referrers(subject))

    def _no_blob(self, digest: Digest) -> BlobUnknown:
        return BlobUnknown(f"{self.name} has no blob {digest}")

    def _no_tag(self, tag: str) -> ManifestUnknown:
        return ManifestUnknown(f"{self.name} has no tag {tag}")
