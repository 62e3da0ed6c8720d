"""What one repository names, as files: blobs, manifests, tags, referrers. Every method may wait for the disk."""

from __future__ import annotations

import msgspec

from orlop.errors import InvalidArgument
from orlop.formats.digest import ALGORITHMS, Digest, is_hex
from orlop.formats.reference import is_path, is_tag
from orlop.model.oci.documents import Descriptor
from orlop.registry.storage.root import Root
from orlop.registry.storage.storage import StoredManifest

__all__ = ["Links", "file_name", "repositories"]


def file_name(repository: str) -> str:
    """Return the one file name that stands for a repository's name; no name has a colon."""
    return repository.replace("/", ":")


def repositories(root: Root) -> list[str]:
    """Return the names of all repositories, also of those that have nothing any more."""
    names = (file.replace(":", "/") for file in root.tree.names("repositories"))
    return [name for name in names if is_path(name)]


class Links:
    """The files of the repository `name`. Methods may be called from any thread and raise `OSError`."""

    def __init__(self, root: Root, name: str) -> None:
        self.name = name
        self._root = root
        self._tree = root.tree
        self._path = f"repositories/{file_name(name)}"

    def has_blob(self, digest: Digest) -> bool:
        """Tell whether the repository names the blob; its content may be gone all the same."""
        return self._tree.status("/".join(self._blob(digest))) is not None

    def link_blob(self, digest: Digest) -> None:
        self._tree.mark(*self._blob(digest))

    def unlink_blob(self, digest: Digest, *, durable: bool = True) -> bool:
        """Name a blob no longer; False if it was not named."""
        return self._tree.remove(*self._blob(digest), durable=durable)

    def blobs(self) -> list[Digest]:
        return self._digests("blobs")

    def has_manifests(self) -> bool:
        return any(self._tree.names(f"{self._path}/manifests/{algorithm}") for algorithm in ALGORITHMS)

    def manifests(self) -> list[Digest]:
        return self._digests("manifests")

    def manifest(self, digest: Digest) -> StoredManifest | None:
        """Return a manifest, None if there is none."""
        try:
            media_type = self._tree.read("/".join(self._manifest(digest))).decode()
            data = self._tree.read(self._root.content_path(digest))
        except FileNotFoundError:
            return None
        return StoredManifest(digest, media_type, data)

    def leased(self, digest: Digest) -> float | None:
        """Return when a manifest was put or last relied on (seconds since the epoch), None if it is not there."""
        status = self._tree.status("/".join(self._manifest(digest)))
        return status.st_mtime if status is not None else None

    def renew(self, digest: Digest, *, manifest: bool) -> bool:
        """Renew the lease of a blob, or of a manifest (which may be a blob as well); False if it is not there."""
        with self._root.lock:
            if manifest and self._tree.touch("/".join(self._manifest(digest))):
                return self._root.renew(digest)
            return self.has_blob(digest) and self._root.renew(digest)

    def put_manifest(
        self, manifest: StoredManifest, tags: list[str], subject: Digest | None, listed: Descriptor
    ) -> None:
        """Keep a manifest, among the referrers first, then as such, then under its tags: each step stands alone."""
        digest = manifest.digest
        self._root.put(manifest.data, digest)
        if subject is not None:
            self._tree.write(self._referrers(subject), str(digest), msgspec.json.encode(listed))
        self._tree.write(*self._manifest(digest), manifest.media_type.encode())
        for tag in tags:
            self._tree.write(f"{self._path}/tags", tag, str(digest).encode())

    def drop_manifest(self, digest: Digest, subject: Digest | None) -> None:
        """Remove a manifest, the tags that name it and its place among the referrers; some may be gone already."""
        self._tree.remove(*self._manifest(digest))
        for tag in self.tags():
            if self.tagged(tag) == digest:
                self.drop_tag(tag)
        if subject is not None:
            self._tree.remove(self._referrers(subject), str(digest))

    def retire(self, digest: Digest, subject: Digest | None, before: float) -> bool:
        """Remove an untagged manifest that nobody has relied on since `before`; tell whether it is gone."""
        with self._root.lock:
            leased = self.leased(digest)
            if leased is not None and leased >= before:
                return False
            self._tree.remove(*self._manifest(digest), durable=False)
        if subject is not None:
            self._tree.remove(self._referrers(subject), str(digest))
        return True

    def tags(self) -> list[str]:
        return [name for name in self._tree.names(f"{self._path}/tags") if is_tag(name)]

    def tagged(self, tag: str) -> Digest | None:
        """Return what a tag names, None if there is no such tag."""
        try:
            return Digest.parse(self._tree.read(f"{self._path}/tags/{tag}").decode())
        except FileNotFoundError:
            return None

    def drop_tag(self, tag: str) -> bool:
        """Remove a tag; False if there is none."""
        return self._tree.remove(f"{self._path}/tags", tag)

    def referrers(self, subject: Digest) -> list[Descriptor]:
        """Return the manifests that have this subject, by digest."""
        directory = self._referrers(subject)
        found = []
        for name in sorted(self._tree.names(directory)):
            try:
                if self.leased(Digest.parse(name)) is not None:  # else a crash has cut its push short
                    found.append(msgspec.json.decode(self._tree.read(f"{directory}/{name}"), type=Descriptor))
            except (InvalidArgument, FileNotFoundError):
                continue
        return found

    def prune(self) -> None:
        """Remove the directories that hold nothing any more."""
        self._tree.prune(self._path)

    def _digests(self, kind: str) -> list[Digest]:
        return [
            Digest(algorithm, name)
            for algorithm, length in ALGORITHMS.items()
            for name in self._tree.names(f"{self._path}/{kind}/{algorithm}")
            if len(name) == length and is_hex(name)
        ]

    def _blob(self, digest: Digest) -> tuple[str, str]:
        return f"{self._path}/blobs/{digest.algorithm}", digest.hex

    def _manifest(self, digest: Digest) -> tuple[str, str]:
        return f"{self._path}/manifests/{digest.algorithm}", digest.hex

    def _referrers(self, subject: Digest) -> str:
        return f"{self._path}/referrers/{subject}"
