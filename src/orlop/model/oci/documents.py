"""Manifests and indexes (image-spec manifest.md, image-index.md), read with suspicion: they come from registries.

What `parse` returns is well formed: digests are digests, sizes are sizes, and the document is one thing only, the same
as its Content-Type says (CVE-2021-41190).
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.formats.platform import Platform
from orlop.model.oci import media

__all__ = [
    "MAX_BYTES",
    "MAX_ENTRIES",
    "Descriptor",
    "DescriptorPlatform",
    "Document",
    "Index",
    "Manifest",
    "Schema1",
    "check_image",
    "encode",
    "parse",
]

MAX_BYTES = 4 << 20
"""The bytes of a document at most (distribution-spec: what registries must accept at least)."""
MAX_ENTRIES = 10_000
"""The layers of a manifest and the manifests of an index at most."""

Size = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]

_SCHEMA_VERSION = 2
_GENERIC = frozenset({"", "application/json", "application/octet-stream", "text/plain", "binary/octet-stream"})
_ABSENT = msgspec.Raw(b"null")
_Type = TypeVar("_Type")


class Schema1(InvalidArgument):
    """The document is a manifest of Docker before 1.10."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The base of what documents are made of: frozen, camel case in JSON, unknown fields dropped."""


class DescriptorPlatform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an image in an index runs on."""

    architecture: str = ""
    os: str = ""
    os_version: str | None = msgspec.field(default=None, name="os.version")
    os_features: tuple[str, ...] | None = msgspec.field(default=None, name="os.features")
    variant: str | None = None

    def value(self) -> Platform:
        """Return the three words by which platforms are chosen."""
        return Platform(self.os, self.architecture, self.variant or "")


class Descriptor(_Part, frozen=True, kw_only=True):
    """A pointer to content (image-spec descriptor.md). `size` is its bytes."""

    media_type: str
    digest: str
    size: Size
    urls: tuple[str, ...] | None = None
    annotations: dict[str, str] | None = None
    data: bytes | None = None
    platform: DescriptorPlatform | None = None
    artifact_type: str | None = None

    @property
    def parsed_digest(self) -> Digest:
        """The digest as the content store takes it; `parse` has seen to it that it is one."""
        return Digest.parse(self.digest)


class Manifest(_Part, frozen=True, kw_only=True, tag_field="schemaVersion", tag=_SCHEMA_VERSION):
    """One image: a configuration and layers, bottom first; or another artifact in the same form."""

    media_type: str = ""
    artifact_type: str | None = None
    config: Descriptor
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Index(_Part, frozen=True, kw_only=True, tag_field="schemaVersion", tag=_SCHEMA_VERSION):
    """Several manifests: an image for several platforms, attestations, further indexes."""

    media_type: str = ""
    artifact_type: str | None = None
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


Document = Manifest | Index


class _Probe(msgspec.Struct, rename="camel"):
    """What tells the kinds of documents apart."""

    schema_version: int = _SCHEMA_VERSION
    media_type: str | None = None
    config: msgspec.Raw = _ABSENT
    layers: msgspec.Raw = _ABSENT
    manifests: msgspec.Raw = _ABSENT
    fs_layers: msgspec.Raw = _ABSENT


def parse(data: bytes, content_type: str = "") -> Document:
    """Parse a manifest or an index; `content_type` is the header that it came with, if any.

    The document that is returned names its media type, also if the text leaves it out. Raises `InvalidArgument`.
    """
    if len(data) > MAX_BYTES:
        raise InvalidArgument(f"invalid manifest: more than {MAX_BYTES} bytes")
    probe = _decode(data, _Probe)
    media_type = _media_type(probe, media.without_parameters(content_type))
    document: Document
    if media_type in media.INDEXES:
        document = _decode(data, Index)
        _check_entries(document.manifests, "manifests")
    else:
        document = _decode(data, Manifest)
        _check_entries((document.config,), "configurations")
        _check_entries(document.layers, "layers")
    if document.subject is not None:
        _check_descriptor(document.subject)
    return msgspec.structs.replace(document, media_type=media_type)


def encode(document: Document) -> bytes:
    """Return the JSON of a new document; what came from elsewhere keeps the bytes that it had."""
    return msgspec.json.encode(document)


def check_image(manifest: Manifest) -> Manifest:
    """Return `manifest` if it is of an image that runs somewhere. Raises `InvalidArgument`: charts, signatures…"""
    if manifest.config.media_type not in media.CONFIGS:
        raise InvalidArgument(f"unsupported media type {manifest.config.media_type}: not an image")
    for layer in manifest.layers:
        if not media.is_layer(layer.media_type):
            raise InvalidArgument(f"unsupported media type {layer.media_type}: not a layer of an image")
    return manifest


def _media_type(probe: _Probe, content_type: str) -> str:
    """Decide what a document is by its fields, its own word and the header, which must not contradict each other."""
    is_index = probe.manifests != _ABSENT
    if is_index and (probe.config != _ABSENT or probe.layers != _ABSENT):
        raise InvalidArgument("invalid manifest: it is both a manifest and an index")
    stated = probe.media_type or ""
    if probe.fs_layers != _ABSENT or probe.schema_version == 1 or {stated, content_type} & media.SCHEMA_1:
        raise Schema1("Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed.")
    if content_type in _GENERIC:
        content_type = ""
    if stated and content_type and stated != content_type:
        raise InvalidArgument(f"invalid manifest: its media type is {stated}, but it was sent as {content_type}")
    media_type = stated or content_type or (media.OCI_INDEX if is_index else media.OCI_MANIFEST)
    if media_type not in media.INDEXES | media.MANIFESTS:
        raise InvalidArgument(f"unsupported manifest media type: {media_type[:256]}")
    if is_index != (media_type in media.INDEXES):
        raise InvalidArgument(f"invalid manifest: its media type is {media_type}, but its fields are of the other kind")
    return media_type


def _check_entries(entries: tuple[Descriptor, ...], what: str) -> None:
    if len(entries) > MAX_ENTRIES:
        raise InvalidArgument(f"invalid manifest: more than {MAX_ENTRIES} {what}")
    for descriptor in entries:
        _check_descriptor(descriptor)


def _check_descriptor(descriptor: Descriptor) -> None:
    try:
        digest = Digest.parse(descriptor.digest)
    except InvalidArgument as error:
        raise InvalidArgument(f"invalid manifest: {error}: {descriptor.digest[:256]!r}") from None
    data = descriptor.data
    if data is not None and (len(data) != descriptor.size or Digest.of(data, digest.algorithm) != digest):
        raise InvalidArgument(f"invalid manifest: the data of {digest} are other than it says")


def _decode(data: bytes, kind: type[_Type]) -> _Type:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"invalid manifest: {error}") from None
