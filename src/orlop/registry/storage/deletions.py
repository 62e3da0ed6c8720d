"""Deleting a manifest together with its tags: what is to go is written down first and finished after a crash."""

from __future__ import annotations

import msgspec

from orlop.formats.digest import Digest
from orlop.registry.storage.links import Links
from orlop.registry.storage.root import Root

__all__ = ["delete", "resume"]

_DIRECTORY = "deletions"


class _Deletion(msgspec.Struct, frozen=True):
    repository: str
    digest: str
    subject: str | None


def delete(root: Root, repository: str, digest: Digest, subject: Digest | None) -> None:
    """Delete a manifest, its tags and its place among the referrers of `subject`. Call it under `Root.writing`."""
    deletion = _Deletion(repository, str(digest), str(subject) if subject else None)
    name = root.scratch.name("deletion").name
    root.tree.write(_DIRECTORY, name, msgspec.json.encode(deletion))
    _finish(root, name, deletion)


def resume(root: Root) -> None:
    """Finish the deletions that a crash has cut short."""
    for name in root.tree.names(_DIRECTORY):
        _finish(root, name, msgspec.json.decode(root.tree.read(f"{_DIRECTORY}/{name}"), type=_Deletion))


def _finish(root: Root, name: str, deletion: _Deletion) -> None:
    subject = Digest.parse(deletion.subject) if deletion.subject else None
    Links(root, deletion.repository).drop_manifest(Digest.parse(deletion.digest), subject)
    root.tree.remove(_DIRECTORY, name)
