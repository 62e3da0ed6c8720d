"""Saving: images become one archive in the form of Docker since 25, a docker-archive with an OCI layout inside.

Layers are plain tars, named by their diff ids, so that every engine can read them; a layer that several images have is
there once. The documents come first. The same images give the same bytes: there are no times in it, and nothing
depends on the order in which images came into the store.

What can be known to be wrong is said by `plan`; a blob whose bytes turn out to be damaged ends `write_archive` with an
error, and what was written is then no archive.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orlop.errors import Internal
from orlop.formats.digest import Digest
from orlop.formats.reference import Reference
from orlop.formats.tar.entry import Entry, Kind
from orlop.formats.tar.output import TarOutput, Write
from orlop.image.content import Content
from orlop.image.plain import write_plain
from orlop.model.oci.media import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from orlop.model.record import LayerRecord

__all__ = ["Chosen", "SavePlan", "plan", "write_archive"]

Json = dict[str, Any]

_LAYOUT = b'{"imageLayoutVersion": "1.0.0"}'


@dataclass(frozen=True, slots=True)
class Chosen:
    """An image that is to be saved: its configuration's bytes, its layers, each with its `tar_size`, its tags."""

    id: str
    config: bytes
    layers: tuple[LayerRecord, ...]
    names: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True)
class SavePlan:
    """The members of the archive: documents by path, then layers."""

    documents: tuple[tuple[str, bytes], ...]
    layers: tuple[LayerRecord, ...]


def plan(images: Sequence[Chosen]) -> SavePlan:
    """Return the archive of `images`, in their order."""
    blobs: dict[str, bytes] = {}
    layers: dict[str, LayerRecord] = {}
    descriptors: list[Json] = []
    items: list[Json] = []
    repositories: dict[str, dict[str, str]] = {}
    for image in images:
        manifest = _manifest(image)
        blobs[_path(image.id)] = image.config
        blobs[_path(str(Digest.of(manifest)))] = manifest
        layers.update((layer.diff_id, layer) for layer in image.layers)
        descriptors += _descriptors(manifest, image.names)
        items.append(_item(image))
        for name in image.names if image.layers else ():
            tags = repositories.setdefault(name.familiar_name, {})
            tags[name.tag] = Digest.parse(image.layers[-1].diff_id).hex
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": descriptors}
    documents = [("oci-layout", _LAYOUT), ("index.json", _encoded(index)), ("manifest.json", _encoded(items) + b"\n")]
    if repositories:
        documents.append(("repositories", json.dumps(repositories, sort_keys=True).encode() + b"\n"))
    return SavePlan((*documents, *sorted(blobs.items())), tuple(layers[diff_id] for diff_id in sorted(layers)))


def write_archive(plan: SavePlan, content: Content, write: Write) -> None:
    """Give the archive to `write`, piece by piece. Raises `Internal` for a damaged blob, and `OSError`."""
    output = TarOutput(write)
    paths = [*(path for path, _ in plan.documents), *(_path(layer.diff_id) for layer in plan.layers)]
    directories = {path.rpartition("/")[0] for path in paths if "/" in path}
    for path, data in plan.documents:
        if "/" not in path:
            output.add(Entry(path, Kind.FILE, size=len(data)), data)
    for directory in sorted({"blobs", *directories}):
        output.add(Entry(directory, Kind.DIRECTORY, mode=0o755))
    for path, data in plan.documents:
        if "/" in path:
            output.add(Entry(path, Kind.FILE, size=len(data)), data)
    for layer in plan.layers:
        output.begin(Entry(_path(layer.diff_id), Kind.FILE, size=layer.tar_size))
        size = write_plain(content, layer, output.append)
        if size != layer.tar_size:
            raise Internal(f"layer {layer.diff_id} has {size} bytes, not {layer.tar_size}")
        output.end()
    output.finish()


def _manifest(image: Chosen) -> bytes:
    return _encoded(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": image.id, "size": len(image.config)},
            "layers": [_layer(layer) for layer in image.layers],
        }
    )


def _layer(layer: LayerRecord) -> Json:
    return {"mediaType": OCI_LAYER, "digest": layer.diff_id, "size": layer.tar_size}


def _descriptors(manifest: bytes, names: Sequence[Reference]) -> list[Json]:
    """Return what the index says of an image: once a name, or once without any."""
    bare = {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(manifest)), "size": len(manifest)}
    named = [
        {
            **bare,
            "annotations": {
                "io.containerd.image.name": name.canonical(),
                "org.opencontainers.image.ref.name": name.tag,
            },
        }
        for name in names
    ]
    return named or [bare]


def _item(image: Chosen) -> Json:
    return {
        "Config": _path(image.id),
        "RepoTags": [name.familiar() for name in image.names] or None,
        "Layers": [_path(layer.diff_id) for layer in image.layers],
        "LayerSources": {layer.diff_id: _layer(layer) for layer in image.layers},
    }


def _path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _encoded(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
