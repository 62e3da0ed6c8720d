"""Which stages a target needs, with what the ONBUILD instructions of their bases add to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from orlop.build.convert.base import Outside
from orlop.build.convert.errors import located
from orlop.build.convert.stages import Bound, Source, StagePlan, Stages
from orlop.build.dockerfile.parser import parse_instruction
from orlop.build.dockerfile.tree import Range
from orlop.build.graph import ImageWanted
from orlop.errors import InvalidArgument
from orlop.formats.platform import Platform

__all__ = ["needed"]


def needed(stages: Stages, target: int, outside: Outside) -> tuple[list[int], tuple[ImageWanted, ...]]:
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
        plan.instructions[:0] = _triggers(stages, plan, outside, missing)
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


def _triggers(stages: Stages, plan: StagePlan, outside: Outside, missing: dict[ImageWanted, None]) -> Sequence[Bound]:
    if isinstance(plan.base, int):
        base = stages.plans[plan.base]
        found = base.triggers if not base.context else _image_triggers(outside, base.context, base.platform)
    else:
        found = _image_triggers(outside, plan.base, plan.platform)
    range = plan.stage.source.range
    bound: list[Bound] = []
    for expression in found:
        try:
            instruction = replace(parse_instruction(expression), range=range)
        except InvalidArgument as error:
            raise located(error, range) from error
        bound.append(stages.bind(instruction, trigger=True))
    return bound


def _image_triggers(outside: Outside, name: str, platform: Platform | None) -> tuple[str, ...]:
    return () if outside.wanted(name, platform) is not None else outside.triggers(name, platform)
