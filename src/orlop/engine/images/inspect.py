"""`GET /images/{name}/json`: all that is known of an image."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from orlop.engine.images import platform as platforms
from orlop.formats.duration import format_rfc3339
from orlop.model.record import ImageRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["inspect"]

Json = dict[str, Any]

_NEVER = "0001-01-01T00:00:00Z"
_CONFIG_FIELDS = (
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "ArgsEscaped",
    "Healthcheck",
    "OnBuild",
    "Shell",
)
"""Those of the image-spec and Docker's own, in their order; since API 1.50 no others, and none that is empty."""


async def inspect(engine: Engine, name: str, *, platform: str = "", manifests: bool = False) -> Json:
    """Return an image in the form of the API, with its `manifests` if asked. Raises `NotFound`.

    `platform` is the JSON of the one that it must be for.
    """
    record = platforms.resolve(engine, name, platform)
    config = engine.images.config(record)
    references = engine.images.references(record.id)
    document: Json = {
        "Id": record.id,
        "RepoTags": [reference.familiar() for reference in references if reference.digest is None],
        "RepoDigests": [reference.familiar() for reference in references if reference.digest is not None],
        "Parent": record.parent,
        "Comment": _comment(config),
        "Created": _created(config, record),
        "DockerVersion": config.get("docker_version") or "",
        "Author": config.get("author") or "",
        "Config": _config(config.get("config") or {}),
        "Architecture": record.architecture,
        "Variant": record.variant,
        "Os": record.os,
        "OsVersion": config.get("os.version") or "",
        "Size": record.size,
        "GraphDriver": {"Data": _graph_driver(engine, record), "Name": "overlay2"},
        "RootFS": {"Type": "layers"},
        "Metadata": {"LastTagTime": format_rfc3339(record.tagged_at) if record.tagged_at else _NEVER},
    }
    if record.layers:
        document["RootFS"]["Layers"] = [layer.diff_id for layer in record.layers]
    document["Descriptor"] = await asyncio.to_thread(platforms.descriptor, engine, record)
    if manifests:
        document["Manifests"] = (await asyncio.to_thread(platforms.manifests, engine, [record]))[record.id]
    for optional in ("Created", "Variant", "OsVersion", "Descriptor"):
        if not document[optional]:
            del document[optional]
    return document


def _config(config: Json) -> Json:
    return {field: config[field] for field in _CONFIG_FIELDS if config.get(field)}


def _created(config: Json, record: ImageRecord) -> str:
    return format_rfc3339(record.created_at) if record.created_at else config.get("created") or ""


def _comment(config: Json) -> str:
    """Return the image's comment: its own field or, as BuildKit and `docker commit` leave it, the last history's."""
    own = config.get("comment") or ""
    history = config.get("history") or []
    return own or (history[-1].get("comment") or "" if history else "")


def _graph_driver(engine: Engine, record: ImageRecord) -> dict[str, str]:
    """Return where the layers are. The merged directory exists while something mounts it only."""
    layers = engine.images.layers.directories(record)
    top = layers[0]
    data = {"MergedDir": f"{top}.merged", "UpperDir": top, "WorkDir": f"{top}.work"}
    return {"LowerDir": ":".join(layers[1:]), **data} if len(layers) > 1 else data
