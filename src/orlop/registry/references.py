"""What a manifest refers to: pure reading of documents that clients push.

Images and indexes are read strictly (`orlop.model.oci.documents`). Everything else that is JSON is taken as an
artifact of a kind that Orlop does not know: whatever looks like a descriptor in it counts as referred to, so that
nothing is collected that somebody may need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.model.oci import documents, media
from orlop.model.oci.documents import Descriptor, Document, Index, Manifest

__all__ = ["References", "read", "read_again"]

_KNOWN = media.MANIFESTS | media.INDEXES | media.SCHEMA_1
_GENERIC = ("", "application/json", "application/octet-stream")


@dataclass(frozen=True, slots=True)
class References:
    """What a manifest of `media_type` names.

    `blobs` and `manifests` have to be in the repository when it is pushed; `others` may be or not: layers that lie
    elsewhere, and what stands in documents of unknown kinds. `artifact_type` is what the referrers API shows.
    """

    media_type: str
    blobs: frozenset[Digest] = frozenset()
    manifests: frozenset[Digest] = frozenset()
    others: frozenset[Digest] = frozenset()
    subject: Digest | None = None
    artifact_type: str | None = None
    annotations: dict[str, str] | None = None

    @property
    def all(self) -> frozenset[Digest]:
        """Everything that is named, but for the subject."""
        return self.blobs | self.manifests | self.others

    def descriptor(self, digest: Digest, size: int) -> Descriptor:
        """Return how the referrers API lists the manifest (distribution-spec, "Listing Referrers")."""
        return Descriptor(
            media_type=self.media_type,
            digest=str(digest),
            size=size,
            annotations=self.annotations,
            artifact_type=self.artifact_type,
        )


def read(data: bytes, content_type: str) -> References:
    """Return what the manifest `data` names that came as `content_type`. Raises `InvalidArgument`."""
    stated = media.without_parameters(content_type)
    if stated in _KNOWN or stated in _GENERIC:
        return _of_document(documents.parse(data, stated))
    return _of_unknown(data, stated)


def read_again(data: bytes, media_type: str) -> References:
    """Return what a manifest names that was accepted once, by rules that may have changed. Raises `InvalidArgument`."""
    try:
        return read(data, media_type)
    except InvalidArgument:
        return _of_unknown(data, media_type)


def _of_document(document: Document) -> References:
    subject = document.subject.parsed_digest if document.subject else None
    if isinstance(document, Index):
        return References(
            document.media_type,
            manifests=frozenset(child.parsed_digest for child in document.manifests),
            subject=subject,
            artifact_type=document.artifact_type,
            annotations=document.annotations,
        )
    layers = [(layer.parsed_digest, media.is_foreign(layer.media_type)) for layer in document.layers]
    return References(
        document.media_type,
        blobs=frozenset([document.config.parsed_digest, *(digest for digest, foreign in layers if not foreign)]),
        others=frozenset(digest for digest, foreign in layers if foreign),
        subject=subject,
        artifact_type=_artifact_type(document),
        annotations=document.annotations,
    )


def _artifact_type(manifest: Manifest) -> str | None:
    return manifest.artifact_type or manifest.config.media_type


def _of_unknown(data: bytes, media_type: str) -> References:
    if len(data) > documents.MAX_BYTES:
        raise InvalidArgument(f"invalid manifest: more than {documents.MAX_BYTES} bytes")
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"invalid manifest: {error}") from None
    if not isinstance(document, dict):
        raise InvalidArgument("invalid manifest: it is not a JSON object")
    if document.get("mediaType", media_type) != media_type:
        raise InvalidArgument("invalid manifest: its media type is not the one that it was sent as")
    subject = document.pop("subject", None)
    return References(
        media_type,
        others=frozenset(_descriptors(document)),
        subject=_digest(subject),
        artifact_type=_text(document.get("artifactType")),
        annotations=_annotations(document.get("annotations")),
    )


def _descriptors(document: Any) -> list[Digest]:
    """Return the digests of everything in a JSON value that looks like a descriptor."""
    found: list[Digest] = []
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if (digest := _digest(value)) is not None:
                found.append(digest)
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return found


def _digest(value: Any) -> Digest | None:
    text = value.get("digest") if isinstance(value, dict) else None
    try:
        return Digest.parse(text) if isinstance(text, str) else None
    except InvalidArgument:
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _annotations(value: Any) -> dict[str, str] | None:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        return None
    return value
