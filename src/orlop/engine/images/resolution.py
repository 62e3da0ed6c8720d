"""From what a reference leads to, perhaps an index for many platforms, to the manifest of one image."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from orlop.errors import InvalidArgument, NotFound
from orlop.formats.platform import Platform, choose
from orlop.model.oci import media
from orlop.model.oci.documents import Descriptor, Document, Index, Manifest

__all__ = ["Found", "NoMatch", "check_manifest", "find_manifest"]

_REFERENCE_TYPE = "vnd.docker.reference.type"  # of attestations, which BuildKit lists beside its images
_MAX_DEPTH = 4
_MAX_FETCHES = 32
_CLASSES = {media.DOCKER_CONFIG: "image", "application/vnd.docker.plugin.v1+json": "plugin"}
_UNNAMED = frozenset({"", "application/octet-stream", "application/json", "text/html"})
"""Types that old registries and tools gave to the configurations of images."""


@dataclass(frozen=True, slots=True)
class Found:
    """A manifest or index with the bytes that it was read from."""

    digest: str
    data: bytes = field(repr=False)
    document: Document


Fetch = Callable[[Descriptor], Awaitable[Found]]


class NoMatch(NotFound):
    """An index has nothing for the platform."""

    def __init__(self, wanted: Platform) -> None:
        super().__init__(f"no matching manifest for {wanted} in the manifest list entries")


async def find_manifest(top: Found, wanted: Platform, fetch: Fetch) -> tuple[Found, Manifest]:
    """Return the manifest that `top` is, or the one in it that suits `wanted` best; `fetch` gets what is in an index.

    Raises `NoMatch`, and `InvalidArgument` for what is no image that could be pulled.
    """
    found = await _Search(wanted, fetch).run(top, 0)
    assert isinstance(found.document, Manifest)
    _check_layers(found.document)
    return found, found.document


class _Search:
    def __init__(self, wanted: Platform, fetch: Fetch) -> None:
        self._wanted = wanted
        self._fetch = fetch
        self._fetches = 0

    async def run(self, found: Found, depth: int) -> Found:
        if not isinstance(found.document, Index):
            check_manifest(found.document)
            return found
        if depth >= _MAX_DEPTH:
            raise InvalidArgument(f"invalid manifest list: lists are nested deeper than {_MAX_DEPTH}")
        for descriptor in self._suitable(found.document):
            self._fetches += 1
            if self._fetches > _MAX_FETCHES:
                raise InvalidArgument(f"invalid manifest list: no image among its first {_MAX_FETCHES} entries")
            inner = await self._fetch(descriptor)
            if len(inner.data) != descriptor.size:
                raise InvalidArgument(f"manifest {inner.digest} has {len(inner.data)} bytes, not {descriptor.size}")
            try:
                return await self.run(inner, depth + 1)
            except NoMatch:
                continue
        raise NoMatch(self._wanted)

    def _suitable(self, index: Index) -> list[Descriptor]:
        """Return the entries that may hold the image: best match first, those that do not say behind."""
        entries = [item for item in index.manifests if not (item.annotations or {}).get(_REFERENCE_TYPE)]
        known = media.MANIFESTS | media.INDEXES
        entries = [item for item in entries if item.media_type in known]
        named = [(item, item.platform.value()) for item in entries if item.platform and item.platform.os]
        silent = [item for item in entries if not (item.platform and item.platform.os)]
        ranked: list[Descriptor] = []
        while named and (best := choose(self._wanted, [platform for _, platform in named])) is not None:
            ranked.append(named.pop(best)[0])
            if len(ranked) > _MAX_FETCHES:
                break
        return ranked + silent


def check_manifest(manifest: Manifest) -> None:
    """Raise `InvalidArgument`, with dockerd's words, for a manifest of something else than an image."""
    kind = manifest.config.media_type
    if kind in media.CONFIGS or kind in _UNNAMED:
        return
    if manifest.media_type == media.DOCKER_MANIFEST:
        raise InvalidArgument(f'Encountered remote "{kind[:256]}"({_CLASSES.get(kind, "unknown")}) when fetching')
    raise InvalidArgument(f"unsupported media type {kind[:256]}")


def _check_layers(manifest: Manifest) -> None:
    for layer in manifest.layers:
        if media.is_foreign(layer.media_type):
            raise InvalidArgument(
                f"layer {layer.digest} is foreign ({layer.media_type}): it is kept outside of registries, "
                "and Orlop does not fetch it from there"
            )
        if not media.is_layer(layer.media_type):
            raise InvalidArgument(f"unsupported media type {layer.media_type[:256]}")
