"""All checks of a Dockerfile, but those that its ``# check=skip=…`` leaves out."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from orlop.build.dockerfile.check.casing import check_casing
from orlop.build.dockerfile.check.instructions import check_descriptions, check_instructions
from orlop.build.dockerfile.check.rule import warning
from orlop.build.dockerfile.check.stages import check_stages
from orlop.build.dockerfile.check.variables import check_variables
from orlop.build.dockerfile.tree import Dockerfile, Range, Warning
from orlop.formats.ignore import Ignore

__all__ = ["check", "wrong_platform"]


def check(
    dockerfile: Dockerfile,
    arguments: Mapping[str, str | None] | None = None,
    *,
    ignore: Ignore | None = None,
    environments: Mapping[str, Collection[str]] | None = None,
    experimental: bool = False,
) -> tuple[Warning, ...]:
    """Return the warnings, by their lines. `arguments` are the build arguments that were given.

    `ignore` is the context's .dockerignore, `environments` are the names of variables that images bring, by the
    references that FROM has; what needs more than is known here is not warned of.
    """
    skipped = {name.lower() for name in dockerfile.directives.check_skip}
    if "all" in skipped:
        return ()
    found = [
        *dockerfile.warnings,
        *check_casing(dockerfile),
        *check_stages(dockerfile, arguments or {}),
        *check_instructions(dockerfile, ignore),
        *check_variables(dockerfile, environments or {}),
        *(check_descriptions(dockerfile) if experimental else ()),
    ]
    kept = [item for item in found if item.rule.lower() not in skipped]
    return tuple(sorted(kept, key=lambda item: item.range.line if item.range else 0))


def wrong_platform(image: str, expected: str, actual: str, stage_line: int | None = None) -> Warning:
    """Return InvalidBaseImagePlatform: a base that is for another platform than was wanted."""
    text = f'Base image {image} was pulled with platform "{actual}", expected "{expected}" for current build'
    return warning("InvalidBaseImagePlatform", text, Range(stage_line, stage_line) if stage_line else None)
