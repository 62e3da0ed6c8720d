"""OCI layouts (image-spec image-layout.md): ``index.json`` leads to manifests, perhaps through further indexes."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.formats.platform import Platform, choose
from orlop.image.archive.listing import Listed, decode
from orlop.image.archive.spool import Spool

__all__ = ["INDEX", "list_images"]

INDEX = "index.json"

_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_LAYERS = (
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
)
_FULL_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"
_REFERENCE_TYPE = "vnd.docker.reference.type"
_MAX_DEPTH = 4
_MAX_MANIFESTS = 10_000
_ABSENT = msgspec.Raw(b"null")


class _PlatformDocument(msgspec.Struct):
    architecture: str = ""
    os: str = ""
    variant: str | None = None


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    media_type: str = ""
    size: int = -1
    annotations: dict[str, str] | None = None
    platform: _PlatformDocument | None = None


class _Index(msgspec.Struct, rename="camel"):
    manifests: list[_Descriptor] | None = None
    media_type: str = ""
    config: msgspec.Raw = _ABSENT
    layers: msgspec.Raw = _ABSENT


class _Manifest(msgspec.Struct, rename="camel"):
    config: _Descriptor
    layers: list[_Descriptor]
    media_type: str = ""
    manifests: msgspec.Raw = _ABSENT


def list_images(members: Spool, host: Platform, wanted: Platform | None) -> list[Listed]:
    """Return the images that ``index.json`` lists; of those for several platforms the one that suits.

    Raises `InvalidArgument`.
    """
    index = _decode_index(members.document(INDEX), INDEX)
    listed: list[Listed] = []
    for descriptor in index.manifests or []:
        manifest = _choose(members, descriptor, host, wanted)
        if manifest is not None:
            listed.append(_image(members, manifest, _names(descriptor.annotations or {})))
    if not listed:
        raise InvalidArgument("invalid archive: no image for this platform is in it")
    return _merged(listed)


def _choose(members: Spool, descriptor: _Descriptor, host: Platform, wanted: Platform | None) -> _Descriptor | None:
    """Return the manifest that suits of those that `descriptor` leads to; None if none does."""
    found = _manifests(members, descriptor, 0)
    present = [item for item in found if members.has(_path(item))]
    if not present:
        return found[0] if len(found) == 1 else None  # reading it says what is missing
    platforms = [_platform(item, host) for item in present]
    best = choose(wanted or host, platforms)
    if best is not None:
        return present[best]
    return present[0] if wanted is None and len(present) == 1 else None


def _manifests(members: Spool, descriptor: _Descriptor, depth: int) -> list[_Descriptor]:
    """Return the image manifests below a descriptor, attestations and the like left out."""
    if descriptor.media_type in _MANIFESTS or not descriptor.media_type:
        if (descriptor.annotations or {}).get(_REFERENCE_TYPE):
            return []
        return [descriptor]
    if descriptor.media_type not in _INDEXES:
        return []
    if depth >= _MAX_DEPTH:
        raise InvalidArgument(f"invalid archive: indexes are nested deeper than {_MAX_DEPTH}")
    if not members.has(_path(descriptor)):
        return []
    index = _decode_index(_blob(members, descriptor), descriptor.digest)
    found: list[_Descriptor] = []
    for item in index.manifests or []:
        found += _manifests(members, item, depth + 1)
        if len(found) > _MAX_MANIFESTS:
            raise InvalidArgument(f"invalid archive: more than {_MAX_MANIFESTS} manifests")
    return found


def _image(members: Spool, descriptor: _Descriptor, names: tuple[str, ...]) -> Listed:
    manifest: _Manifest = decode(_blob(members, descriptor), _Manifest, descriptor.digest)
    if manifest.manifests != _ABSENT:
        raise InvalidArgument(f"invalid archive: {descriptor.digest} is both a manifest and an index")
    if manifest.config.media_type not in _CONFIGS:
        raise InvalidArgument(f"invalid archive: {manifest.config.media_type!r} is no image configuration")
    for layer in manifest.layers:
        if layer.media_type.partition("+")[0].removesuffix(".gzip") not in _LAYERS:
            raise InvalidArgument(f"invalid archive: {layer.media_type!r} is no layer")
    return Listed(
        config=_blob(members, manifest.config),
        layers=tuple(_path(layer) for layer in manifest.layers),
        names=names,
        algorithm=Digest.parse(manifest.config.digest).algorithm,
    )


def _names(annotations: dict[str, str]) -> tuple[str, ...]:
    """Return the names in a descriptor's annotations; a bare tag (as skopeo writes) names no image."""
    full = annotations.get(_FULL_NAME)
    if full:
        return (full,)
    name = annotations.get(_REF_NAME, "")
    return (name,) if ":" in name.rpartition("/")[2] else ()


def _merged(listed: list[Listed]) -> list[Listed]:
    """Join images that are listed several times under several names."""
    merged: dict[tuple[object, tuple[str, ...]], Listed] = {}
    for item in listed:
        key = (item.config, item.layers)
        first = merged.get(key)
        names = (*first.names, *item.names) if first else item.names
        merged[key] = replace(item, names=tuple(dict.fromkeys(names)))
    return list(merged.values())


def _platform(descriptor: _Descriptor, host: Platform) -> Platform:
    platform = descriptor.platform
    if platform is None or not platform.architecture:
        return host  # it does not say: taken to be ours
    return Platform(platform.os or "linux", platform.architecture, platform.variant or "")


def _decode_index(data: bytes, name: str) -> _Index:
    index: _Index = decode(data, _Index, name)
    if index.config != _ABSENT or index.layers != _ABSENT:
        raise InvalidArgument(f"invalid archive: {name} is both a manifest and an index")
    return index


def _blob(members: Spool, descriptor: _Descriptor) -> bytes:
    data = members.document(_path(descriptor))
    if descriptor.size >= 0 and len(data) != descriptor.size:
        raise InvalidArgument(f"invalid archive: {descriptor.digest} has {len(data)} bytes, not {descriptor.size}")
    return data


def _path(descriptor: _Descriptor) -> str:
    digest = Digest.parse(descriptor.digest)
    return f"blobs/{digest.algorithm}/{digest.hex}"
