"""Media types of images (image-spec media-types.md) and of Docker's schema 2, which says the same in other words."""

from __future__ import annotations

__all__ = [
    "ACCEPT",
    "CONFIGS",
    "DOCKER_CONFIG",
    "DOCKER_FOREIGN_LAYER",
    "DOCKER_INDEX",
    "DOCKER_LAYER",
    "DOCKER_MANIFEST",
    "DOCKER_PLAIN_LAYER",
    "EMPTY",
    "FOREIGN_LAYERS",
    "INDEXES",
    "LAYERS",
    "MANIFESTS",
    "OCI_CONFIG",
    "OCI_INDEX",
    "OCI_LAYER",
    "OCI_LAYER_GZIP",
    "OCI_LAYER_ZSTD",
    "OCI_MANIFEST",
    "SCHEMA_1",
    "is_foreign",
    "is_layer",
    "without_parameters",
]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
_OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"
"""The configuration of what is no image."""

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_PLAIN_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

SCHEMA_1 = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)
"""Manifests of Docker before 1.10, which Orlop does not read."""

MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG})
FOREIGN_LAYERS = frozenset(
    {
        _OCI_FOREIGN,
        f"{_OCI_FOREIGN}+gzip",
        f"{_OCI_FOREIGN}+zstd",
        DOCKER_FOREIGN_LAYER,
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    }
)
"""Layers that lie at the addresses of their descriptors and are not given to registries."""
LAYERS = FOREIGN_LAYERS | {
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    DOCKER_LAYER,
    DOCKER_PLAIN_LAYER,
    f"{DOCKER_PLAIN_LAYER}.zstd",
}

ACCEPT = (OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST)
"""What a client that reads all of this asks a registry for."""


def is_layer(media_type: str) -> bool:
    """Tell whether a layer of an image may have this type."""
    return media_type in LAYERS


def is_foreign(media_type: str) -> bool:
    """Tell whether a layer of this type is fetched from its descriptor's addresses and never pushed."""
    return media_type in FOREIGN_LAYERS


def without_parameters(content_type: str) -> str:
    """Return the media type of a Content-Type header, in lower case: ``text/HTML; charset=x`` → ``text/html``."""
    return content_type.partition(";")[0].strip().lower()
