"""Which stages a target needs, with what the ONBUILD instructions of their bases add to them."""

from __future__ import annotations

from dataclasses import replace

from orlop.build.convert.base import Outside
from orlop.build.convert.errors import located
from orlop.build.convert.stages import Bound, Source, StagePlan, Stages
from orlop.build.dockerfile.expand import Expander
from orlop.build.dockerfile.parser import parse_instruction
from orlop.build.dockerfile.tree import Range
from orlop.build.graph import ImageWanted
from orlop.errors import InvalidArgument
from orlop.formats.platform import Platform

__all__ = ["needed"]

_COST = 1024  # characters that a trigger is worth: many stages may have the same many triggers


def needed(
    stages: Stages, target: int, outside: Outside, expander: Expander
) -> tuple[list[int], tuple[ImageWanted, ...]]:
    """Return the places of all stages that `target` needs, in order, and the images that are still to be found.

    Triggers of the bases stand in front of the stages' instructions afterwards; those of an image that was not found
    are not known yet. Raises `ConversionError`.
    """
    seen: set[int] = {target}
    missing: dict[ImageWanted, None] = {}
    pending = [target]
    while pending:
        plan = stages.plans[pending.pop()]
        _look_for(outside, plan.context or plan.base, plan.platform, plan.stage.source.range, missing)
        if plan.context:
            continue
        plan.instructions[:0] = _triggers(stages, plan, outside, expander)
        sources: list[Source] = [plan.base]
        for source, instruction in plan.takes_from():
            _look_for(outside, source, None, instruction.range, missing)
            sources.append(source)
        for source in sources:
            if isinstance(source, int) and source not in seen:
                seen.add(source)
                pending.append(source)
    return sorted(seen), tuple(missing)


def _look_for(
    outside: Outside, source: Source, platform: Platform | None, range: Range, missing: dict[ImageWanted, None]
) -> None:
    if isinstance(source, int):
        return
    try:
        wanted = outside.wanted(source, platform)
    except InvalidArgument as error:
        raise located(error, range) from error
    if wanted is not None:
        missing[wanted] = None


def _triggers(stages: Stages, plan: StagePlan, outside: Outside, expander: Expander) -> list[Bound]:
    """Return the instructions that a stage's base hands on, each at the place of its FROM. Raises `ConversionError`."""
    range = plan.stage.source.range
    bound: list[Bound] = []
    try:
        for expression in _expressions(stages, plan, outside):
            expander.spend(len(expression) + _COST)
            bound.append(stages.bind(replace(parse_instruction(expression), range=range), trigger=True))
    except InvalidArgument as error:
        raise located(error, range) from error
    return bound


def _expressions(stages: Stages, plan: StagePlan, outside: Outside) -> tuple[str, ...]:
    if not isinstance(plan.base, int):
        return _image_triggers(outside, plan.base, plan.platform)
    base = stages.plans[plan.base]
    return _image_triggers(outside, base.context, base.platform) if base.context else base.triggers


def _image_triggers(outside: Outside, name: str, platform: Platform | None) -> tuple[str, ...]:
    return () if outside.wanted(name, platform) is not None else outside.triggers(name, platform)
