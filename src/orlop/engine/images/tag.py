"""`POST /images/{name}/tag`: one more name for an image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.engine.images.attributes import publish
from orlop.errors import InvalidArgument
from orlop.formats import reference
from orlop.formats.reference import Reference

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["parse_target", "tag"]


async def tag(engine: Engine, name: str, *, repo: str, tag: str = "") -> None:
    """Let ``repo:tag`` point to the image `name`, whatever it pointed to before. Raises `NotFound`."""
    target = parse_target(repo, tag)
    record = engine.images.resolve(name)
    await engine.images.tag(record, target)
    publish(engine, "tag", record.id, target.familiar())


def parse_target(repo: str, tag: str) -> Reference:
    """Return the name that `repo` (which may have a tag of its own) and `tag` ask for. Raises `InvalidArgument`."""
    target = reference.parse(repo)
    if target.digest is not None:
        raise InvalidArgument("refusing to create a tag with a digest reference")
    if target.domain == "docker.io" and target.path == "library/sha256":
        raise InvalidArgument("refusing to create an ambiguous tag using digest algorithm as name")
    if tag:
        target = replace(target, tag=reference.check_tag(tag))
    return target.tagged()
