"""Rules on FROM: names of stages, their bases, their platforms."""

from __future__ import annotations

from collections.abc import Iterator

from orlop.build.dockerfile.check.subject import Found, Subject
from orlop.build.dockerfile.reading import StageReading
from orlop.build.dockerfile.suggest import suggested
from orlop.errors import InvalidArgument
from orlop.formats import reference
from orlop.formats.platform import normalize
from orlop.formats.platform import parse as parse_platform
from orlop.formats.template import go_quote

__all__ = [
    "base_image_platform",
    "constant_platform",
    "default_base",
    "duplicate_stage_name",
    "redundant_platform",
    "reserved_stage_name",
    "undefined_argument",
]

_RESERVED = ("context", "scratch")
_ANY_MACHINE = "amd64"  # completes a platform of one word; which one does not matter
_COMPARISONS = 200_000


def duplicate_stage_name(subject: Subject) -> Iterator[Found]:
    seen: set[str] = set()
    for stage in subject.dockerfile.stages:
        if stage.name in seen:
            yield stage.source.range, f"Duplicate stage name {go_quote(stage.name)}, stage names should be unique"
        if stage.name:
            seen.add(stage.name)


def reserved_stage_name(subject: Subject) -> Iterator[Found]:
    for stage in subject.dockerfile.stages:
        if stage.name in _RESERVED:
            text = f"Stage name should not use the same name as reserved stage {go_quote(stage.name)}"
            yield stage.source.range, text


def undefined_argument(subject: Subject) -> Iterator[Found]:
    reading = subject.reading
    known = {**reading.scope, **reading.arguments}
    comparisons = _COMPARISONS
    for stage in reading.stages:
        for word in (stage.base, stage.platform):
            for name in sorted(word.unset) if word is not None else ():
                if name in known:
                    continue  # an ARG without a value
                comparisons -= len(known)
                message = f"FROM argument '{name}' is not declared"
                yield stage.stage.source.range, suggested(message, name, known if comparisons >= 0 else ())


def default_base(subject: Subject) -> Iterator[Found]:
    for stage, base in zip(subject.dockerfile.stages, subject.default_bases, strict=False):
        try:
            reference.parse(base)
        except InvalidArgument:
            text = f"Default value for ARG {stage.source.base} results in empty or invalid base image name"
            yield stage.source.range, text


def redundant_platform(subject: Subject) -> Iterator[Found]:
    for stage in subject.reading.stages:
        word = stage.platform
        if word is None or word.unset or word.used != {"TARGETPLATFORM"}:
            continue
        if word.text == subject.reading.scope["TARGETPLATFORM"]:
            platform = stage.stage.source.platform
            text = f"Setting platform to predefined {platform} in FROM is redundant as this is the default behavior"
            yield stage.stage.source.range, text


def constant_platform(subject: Subject) -> Iterator[Found]:
    for stage in subject.reading.stages:
        word = stage.platform
        if word is not None and not word.used and not word.unset and not _is_named_for(stage, word.text):
            yield stage.stage.source.range, f"FROM --platform flag should not use constant value {go_quote(word.text)}"


def _is_named_for(stage: StageReading, platform: str) -> bool:
    """Tell whether a stage's name says for which platform it is, or `platform` is none."""
    try:
        parsed = parse_platform(platform, machine=_ANY_MACHINE)
    except InvalidArgument:
        return True
    return parsed.os in stage.stage.name or parsed.architecture in stage.stage.name


def base_image_platform(subject: Subject) -> Iterator[Found]:
    for stage in subject.stages():
        if stage.image is None or stage.image.platform is None:
            continue
        wanted, found = normalize(stage.wanted), normalize(stage.image.platform)
        if (wanted.os, wanted.architecture) != (found.os, found.architecture):
            names = f"platform {go_quote(str(found))}, expected {go_quote(str(wanted))}"
            text = f"Base image {stage.base_name} was pulled with {names} for current build"
            yield stage.stage.source.range, text
