"""The conversion of a Dockerfile into the graph of a build.

Pure: what the outside has to say comes in as data. Which images there have to be is found out on the way, so that the
caller may have to come again: `convert` answers `Missing` until it has been given all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orlop.build.convert import arguments, metadata, names, onbuild
from orlop.build.convert.base import Nodes, Outside
from orlop.build.convert.building import Building, Surroundings, begin, begin_from
from orlop.build.convert.copy import copy
from orlop.build.convert.errors import ConversionError, located
from orlop.build.convert.run import run
from orlop.build.convert.stages import SCRATCH, Bound, StagePlan, Stages, arrange
from orlop.build.dockerfile import tree
from orlop.build.dockerfile.expand import Expander
from orlop.build.graph import Graph, ImageInfo, ImageWanted, Step, Target
from orlop.build.request import BuildRequest
from orlop.errors import InvalidArgument
from orlop.formats.platform import Platform

__all__ = ["Missing", "convert"]

_HANDLERS: dict[type[tree.Instruction], metadata.Handler] = {**metadata.HANDLERS, tree.Copy: copy, tree.Run: run}


@dataclass(frozen=True, slots=True)
class Missing:
    """Images that have to be found before there can be a graph."""

    images: tuple[ImageWanted, ...]


def convert(
    dockerfile: tree.Dockerfile, request: BuildRequest, images: Mapping[ImageWanted, ImageInfo], host: Platform
) -> Graph | Missing:
    """Return the graph of what `request` asks for, or the images it needs that are not among `images`.

    `host` is the platform that builds run on. Raises `ConversionError`.
    """
    try:
        return _converted(dockerfile, request, images, host)
    except ConversionError as error:
        error.lines = dockerfile.lines
        raise


def _converted(
    dockerfile: tree.Dockerfile, request: BuildRequest, images: Mapping[ImageWanted, ImageInfo], host: Platform
) -> Graph | Missing:
    if not dockerfile.stages:
        raise ConversionError("dockerfile contains no stages to build")
    platform = request.platform or host
    expander = Expander(dockerfile.directives.escape)
    scope = arguments.global_scope(dockerfile, request, platform, host, expander)
    epoch = arguments.epoch(request, scope)
    stages = arrange(dockerfile, scope, request.named, expander)
    place = stages.target(request.target)
    outside = Outside(request.named, images, platform, Nodes())
    needed, missing = onbuild.needed(stages, place, outside, expander)
    if missing:
        return Missing(missing)
    around = Surroundings(request, scope, expander, outside.nodes, outside, arguments.proxies(request.arguments))
    steps: list[Step] = []
    for index in needed:
        steps.extend(_stage(around, stages, stages.plans[index]))
    return Graph(
        tuple(outside.nodes.made),
        tuple(steps),
        _target(around.finished[place], request),
        dockerfile.warnings,
        arguments.unused(dockerfile, _triggers(stages, needed), request.arguments),
        tuple(stages.plans[index].label for index in needed),
        epoch,
    )


def _triggers(stages: Stages, needed: Sequence[int]) -> Iterator[tree.Instruction]:
    for index in needed:
        yield from (bound.instruction for bound in stages.plans[index].instructions if bound.trigger)


def _stage(around: Surroundings, stages: Stages, plan: StagePlan) -> list[Step]:
    """Carry out a stage on paper and return its steps."""
    try:
        stage = _begun(around, plan)
    except InvalidArgument as error:
        raise located(error, plan.stage.source.range) from error
    for bound in plan.instructions:
        _carry_out(stage, bound)
    around.finished[plan.place] = stage
    shown = "" if stages.alone else plan.label
    own = plan.stage.name or str(plan.place)
    made = names.steps(stage.drafts, around.steps + 1, own, shown, no_cache=_without_cache(plan, around.request))
    around.steps += len(made)
    return made


def _begun(around: Surroundings, plan: StagePlan) -> Building:
    """Begin a stage, with the step of its FROM unless a context stands for the whole stage."""
    if isinstance(plan.base, int) and not plan.context:
        stage = begin_from(around, plan, around.finished[plan.base])
        stage.start_step(f"FROM {around.finished[plan.base].plan.label}", counted=False)
        return stage
    start = around.outside.start(plan.context or str(plan.base), plan.platform)
    stage = begin(around, plan, start)
    if not plan.context:
        from_nothing = plan.base == SCRATCH
        stage.start_step(f"FROM {start.reference or plan.base}", counted=not from_nothing)
    return stage


def _carry_out(stage: Building, bound: Bound) -> None:
    try:
        _HANDLERS[type(bound.instruction)](stage, bound, bound.instruction)
    except InvalidArgument as error:
        raise located(error, bound.instruction.range) from error


def _without_cache(plan: StagePlan, request: BuildRequest) -> bool:
    names = {plan.stage.name.lower(), str(plan.place), plan.label} - {""}
    return request.no_cache or any(name.lower() in names for name in request.no_cache_stages)


def _target(stage: Building, request: BuildRequest) -> Target:
    config = stage.final_config()
    if request.labels:
        config["Labels"] = {**config.get("Labels", {}), **request.labels}
    return Target(
        stage.node,
        config,
        stage.whole_history(),
        stage.base_history,
        request.platform or stage.platform,
        stage.base,
        stage.author,
    )
