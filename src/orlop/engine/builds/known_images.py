"""What the checks of a Dockerfile are told of the images that its stages start from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orlop.build.dockerfile.reading import Base, Bases
from orlop.build.graph import ImageInfo, ImageWanted
from orlop.build.request import BuildRequest
from orlop.errors import InvalidArgument, NotFound
from orlop.formats.platform import Platform

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["bases_here", "bases_of"]

Json = Mapping[str, Any]


def bases_of(images: Mapping[ImageWanted, ImageInfo], request: BuildRequest) -> Bases:
    """Return what is known of the images that were found for a build."""

    def base(name: str, platform: Platform) -> Base | None:
        found = images.get(ImageWanted(name, platform))
        return _base(found.document) if found is not None and name not in request.named else None

    return base


def bases_here(engine: Engine, request: BuildRequest) -> Bases:
    """Return what is known of images without asking a registry. What is returned blocks."""

    def base(name: str, platform: Platform) -> Base | None:
        if name in request.named:
            return None  # a context stands for it
        try:
            return _base(engine.images.config(engine.images.resolve(name)))
        except (NotFound, InvalidArgument):
            return None

    return base


def _base(document: Json) -> Base:
    """Return what an image's configuration document says."""
    config: Json = document.get("config") or {}
    variables = (text.partition("=") for text in config.get("Env") or ())
    system, architecture = document.get("os") or "", document.get("architecture") or ""
    return Base(
        environment={name: value for name, _, value in variables},
        shell=bool(config.get("Shell")),
        platform=Platform(system, architecture, document.get("variant") or "") if system and architecture else None,
        triggers=tuple(config.get("OnBuild") or ()),
    )
