"""Rules on stages: their names, their bases, the instructions that each may have once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from orlop.build.dockerfile import tree
from orlop.build.dockerfile.check.rule import warning
from orlop.build.dockerfile.expand import expand
from orlop.build.dockerfile.suggest import nearest
from orlop.build.dockerfile.tree import Dockerfile, Stage, Warning
from orlop.errors import InvalidArgument
from orlop.formats import reference
from orlop.formats.template import go_quote

__all__ = ["check_stages"]

_RESERVED = ("context", "scratch")
_ONCE = ("CMD", "ENTRYPOINT", "HEALTHCHECK")
_TARGET_PLATFORM = re.compile(r"\$(?:TARGETPLATFORM|\{TARGETPLATFORM\})")
_PLATFORM_ARGUMENTS = tuple(
    f"{side}{name}" for side in ("BUILD", "TARGET") for name in ("PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT")
)


def check_stages(dockerfile: Dockerfile, arguments: Mapping[str, str | None]) -> Iterator[Warning]:
    """Yield the rules on FROM and on what a stage has twice."""
    seen: set[str] = set()
    values = _global_values(dockerfile, arguments)
    for stage in dockerfile.stages:
        yield from _name(stage, seen)
        yield from _platform(stage)
        yield from _base(stage, dockerfile, values, seen)
        yield from _twice(stage)
        if stage.name:
            seen.add(stage.name)


def _name(stage: Stage, seen: set[str]) -> Iterator[Warning]:
    name, place = stage.name, stage.source.range
    if name in seen:
        text = f"Duplicate stage name {go_quote(name)}, stage names should be unique"
        yield warning("DuplicateStageName", text, place)
    if name in _RESERVED:
        text = f"Stage name should not use the same name as reserved stage {go_quote(name)}"
        yield warning("ReservedStageName", text, place)


def _platform(stage: Stage) -> Iterator[Warning]:
    platform, place = stage.source.platform, stage.source.range
    if not platform:
        return
    if _TARGET_PLATFORM.fullmatch(platform):
        yield warning(
            "RedundantTargetPlatform",
            f"Setting platform to predefined {platform} in FROM is redundant as this is the default behavior",
            place,
        )
    elif "$" not in platform and not (stage.name and platform.replace("/", "-") in stage.name):
        text = f"FROM --platform flag should not use constant value {go_quote(platform)}"
        yield warning("FromPlatformFlagConstDisallowed", text, place)


def _base(stage: Stage, dockerfile: Dockerfile, values: Mapping[str, str], seen: set[str]) -> Iterator[Warning]:
    source, escape = stage.source, dockerfile.directives.escape
    known = {*values, *(pair.name for item in dockerfile.arguments for pair in item.pairs)}
    for text in (source.base, source.platform):
        try:
            unset = expand(text, values, escape=escape).unset
        except InvalidArgument:
            continue  # the conversion says what is wrong
        for name in sorted(unset - known):
            close = nearest(name, sorted(known))
            message = f"FROM argument '{name}' is not declared" + (f" (did you mean {close}?)" if close else "")
            yield warning("UndefinedArgInFrom", message, source.range)
    if "$" in source.base:
        defaults = _global_values(dockerfile, {})
        try:
            default = expand(source.base, defaults, escape=escape).text
        except InvalidArgument:
            return
        if default not in seen and not _is_base(default):
            message = f"Default value for ARG {source.base} results in empty or invalid base image name"
            yield warning("InvalidDefaultArgInFrom", message, source.range)


def _is_base(name: str) -> bool:
    if name == "scratch":
        return True
    try:
        reference.parse(name)
    except InvalidArgument:
        return False
    return bool(name)


def _twice(stage: Stage) -> Iterator[Warning]:
    for name in _ONCE:
        found = [item for item in stage.instructions if item.name == name.lower()]
        for item in found[:-1]:
            yield warning(
                "MultipleInstructionsDisallowed",
                f"Multiple {name} instructions should not be used in the same stage because only the last one will be "
                "used",
                item.range,
            )


def _global_values(dockerfile: Dockerfile, arguments: Mapping[str, str | None]) -> dict[str, str]:
    values = dict.fromkeys(_PLATFORM_ARGUMENTS, "linux")
    for item in dockerfile.arguments:
        for pair in item.pairs:
            values.update(_value(pair, values, arguments, dockerfile.directives.escape))
    return values


def _value(
    pair: tree.Pair, values: Mapping[str, str], arguments: Mapping[str, str | None], escape: str
) -> dict[str, str]:
    given = arguments.get(pair.name)
    if given is not None:
        return {pair.name: given}
    if pair.value is None:
        return {}
    try:
        return {pair.name: expand(pair.value, values, escape=escape).text}
    except InvalidArgument:
        return {}
