"""Docker's archives: ``manifest.json`` since Docker 1.10, ``repositories`` with a directory for each layer before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from orlop.errors import InvalidArgument
from orlop.image.archive.listing import Listed, decode
from orlop.image.archive.spool import Spool
from orlop.image.config import MAX_LAYERS
from orlop.image.intake import TakenLayer

__all__ = ["MANIFEST", "REPOSITORIES", "list_images", "list_old_images"]

MANIFEST = "manifest.json"
REPOSITORIES = "repositories"


class _Item(msgspec.Struct, rename="pascal"):
    config: str
    repo_tags: list[str] | None = None
    layers: list[str] | None = None


def list_images(members: Spool) -> list[Listed]:
    """Return what ``manifest.json`` lists. Raises `InvalidArgument`."""
    items: list[_Item] = decode(members.document(MANIFEST), list[_Item], MANIFEST)
    return [
        Listed(
            config=members.document(item.config),
            layers=tuple(item.layers or ()),
            names=tuple(item.repo_tags or ()),
            algorithm="sha512" if item.config.startswith("blobs/sha512/") else "sha256",
        )
        for item in items
    ]


def list_old_images(members: Spool) -> list[Listed]:
    """Return what ``repositories`` lists, each image with the chain of its parents. Raises `InvalidArgument`."""
    repositories: dict[str, dict[str, str]] = decode(
        members.document(REPOSITORIES), dict[str, dict[str, str]], REPOSITORIES
    )
    names: dict[str, list[str]] = {}
    for repository, tags in repositories.items():
        for tag, image in tags.items():
            names.setdefault(image, []).append(f"{repository}:{tag}")
    return [_old_image(members, image, tuple(tagged)) for image, tagged in names.items()]


def _old_image(members: Spool, image: str, names: tuple[str, ...]) -> Listed:
    chain: list[dict[str, Any]] = []
    layers: list[str] = []
    current: str | None = image
    while current:
        if len(chain) >= MAX_LAYERS:
            raise InvalidArgument(f"invalid archive: image {image} has too many parents")
        name = f"{current}/json"
        document: dict[str, Any] = decode(members.document(name), dict[str, Any], name)
        chain.insert(0, document)
        layers.insert(0, f"{current}/layer.tar")
        parent = document.get("parent")
        current = parent if isinstance(parent, str) else None
    return Listed(config=lambda taken: _old_config(chain, taken), layers=tuple(layers), names=names)


def _old_config(chain: Sequence[dict[str, Any]], taken: Sequence[TakenLayer]) -> bytes:
    """Make today's configuration of the descriptions of all layers, the image's own last."""
    dropped = {"id", "parent", "Size", "parent_id", "layer_id", "throwaway"}
    config = {key: value for key, value in chain[-1].items() if key not in dropped}
    config["rootfs"] = {"type": "layers", "diff_ids": [layer.record.diff_id for layer in taken]}
    config["history"] = [_history(document) for document in chain]
    return json.dumps(config, separators=(",", ":"), sort_keys=True).encode()


def _history(document: dict[str, Any]) -> dict[str, str]:
    container_config = document.get("container_config")
    command = container_config.get("Cmd") if isinstance(container_config, dict) else None
    words = {
        "created": document.get("created"),
        "author": document.get("author"),
        "created_by": " ".join(map(str, command)) if isinstance(command, list) else None,
        "comment": document.get("comment"),
    }
    return {key: value for key, value in words.items() if isinstance(value, str) and value}
