"""The stages of a Dockerfile: their names, what each starts from and takes files from, and which of them are needed.

A source is the place of a stage, or a name from outside (an image, a named context). Stages are found by name among
all of them, the last of a name first come; FROM sees only those above it. Nothing here recurses: a Dockerfile may have
as many stages as lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from orlop.build.convert import mounts
from orlop.build.convert.errors import ConversionError, located
from orlop.build.dockerfile import tree
from orlop.build.dockerfile.expand import Expander
from orlop.build.dockerfile.scope import Scope
from orlop.build.dockerfile.suggest import suggested
from orlop.errors import InvalidArgument
from orlop.formats.platform import Platform
from orlop.formats.platform import parse as parse_platform
from orlop.formats.template import go_quote

__all__ = ["SCRATCH", "Bound", "Source", "StagePlan", "Stages", "arrange"]

SCRATCH = "scratch"

Source = int | str
"""The place of a stage, or a name from outside."""


@dataclass(frozen=True, slots=True)
class Bound:
    """An instruction and where it takes files from: one source for a COPY with ``--from``, one for each mount of a RUN.

    None is a mount without ``from``. `trigger` says that it came with the base (ONBUILD).
    """

    instruction: tree.Instruction
    sources: tuple[Source | None, ...] = ()
    trigger: bool = False


@dataclass(slots=True)
class StagePlan:
    """A stage whose FROM is expanded. `context` is the named context that stands for the whole stage, or ""."""

    place: int
    stage: tree.Stage
    base: Source
    platform: Platform | None = None
    context: str = ""
    instructions: list[Bound] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The name that people are shown."""
        return self.stage.name or f"stage-{self.place}"

    @property
    def triggers(self) -> tuple[str, ...]:
        """What its own ONBUILD instructions hand on."""
        carried = (bound.instruction for bound in self.instructions)
        return tuple(item.expression for item in carried if isinstance(item, tree.OnBuild))

    def takes_from(self) -> Iterator[tuple[Source, tree.Instruction]]:
        for bound in self.instructions:
            for source in bound.sources:
                if source is not None:
                    yield source, bound.instruction


@dataclass(slots=True)
class Stages:
    """All stages, in the Dockerfile's order, and the places of those with names (in lower case)."""

    plans: list[StagePlan]
    places: dict[str, int]
    alone: bool = False
    """Whether there is one stage that uses nothing else, so that its steps are shown without its name."""

    def bind(self, instruction: tree.Instruction, *, trigger: bool = False) -> Bound:
        """Find an instruction's sources. Raises `ConversionError`."""
        try:
            return Bound(instruction, tuple(self._sources(instruction)), trigger)
        except InvalidArgument as error:
            raise located(error, instruction.range) from error

    def _sources(self, instruction: tree.Instruction) -> Iterator[Source | None]:
        if isinstance(instruction, tree.Copy) and instruction.from_:
            yield self._copy_source(instruction.from_)
        elif isinstance(instruction, tree.Run):
            for text in instruction.mounts:
                name = mounts.source_name(text)
                yield self._named(name) if name else None

    def _copy_source(self, text: str) -> Source:
        if Expander().word(text, {}).text != text:
            advice = "define a new stage with FROM using ARG from global scope as a workaround"
            raise InvalidArgument(f"variable expansion is not supported for --from, {advice}")
        if not (text.isascii() and text.removeprefix("-").removeprefix("+").isdigit()):
            return self._named(text)
        if text.startswith("-") or len(text) > 9 or int(text) >= len(self.plans):
            raise InvalidArgument(f"invalid stage index {text}")
        return int(text)

    def _named(self, name: str) -> Source:
        return self.places.get(name.lower(), name)

    def target(self, name: str) -> int:
        """Return the place of the stage that is asked for by name or number, "" for the last. Raises."""
        if not name:
            return len(self.plans) - 1
        place = self.places.get(name.lower())
        if place is None and name.isascii() and name.isdigit() and len(name) <= 9 and int(name) < len(self.plans):
            place = int(name)
        if place is None:
            message = f"target stage {go_quote(name)} could not be found"
            raise ConversionError(suggested(message, name, [plan.label for plan in self.plans]))
        return place

    def check_circles(self) -> None:
        """Raise `ConversionError` if a stage takes files from itself, in however many steps."""
        done: set[int] = set()
        for root in range(len(self.plans)):
            path: set[int] = {root}
            pending = [(root, self.plans[root].takes_from())] if root not in done else []
            while pending:
                place, sources = pending[-1]
                source, instruction = next(sources, (None, None))
                if instruction is None:
                    pending.pop()
                    path.discard(place)
                    done.add(place)
                elif source in path:
                    message = f"circular dependency detected on stage: {self.plans[root].label}"
                    raise ConversionError(message, instruction.range)
                elif isinstance(source, int) and source not in done:
                    path.add(source)
                    pending.append((source, self.plans[source].takes_from()))


def arrange(dockerfile: tree.Dockerfile, scope: Scope, replaced: Mapping[str, str], expander: Expander) -> Stages:
    """Expand every FROM and find every source. `replaced` are the named contexts. Raises `ConversionError`."""
    stages = Stages([], {})
    for place, stage in enumerate(dockerfile.stages):
        plan = _plan(place, stage, scope, expander, stages.places)
        if stage.name in replaced and stage.name not in (SCRATCH, "context"):
            plan.context = stage.name
        stages.plans.append(plan)
        if stage.name:
            stages.places[stage.name.lower()] = place
    for plan in stages.plans:
        if not plan.context:
            plan.instructions.extend(stages.bind(instruction) for instruction in plan.stage.instructions)
    stages.alone = len(stages.plans) == 1 and not any(bound.sources for bound in stages.plans[0].instructions)
    stages.check_circles()
    return stages


def _plan(place: int, stage: tree.Stage, scope: Scope, expander: Expander, places: Mapping[str, int]) -> StagePlan:
    source = stage.source
    try:
        base = expander.word(source.base, scope).text
        platform = _platform(source.platform, scope, expander) if source.platform else None
    except InvalidArgument as error:
        raise located(error, source.range) from error
    if not base:
        raise ConversionError(f"base name ({source.base}) should not be blank", source.range)
    return StagePlan(place, stage, places.get(base.lower(), base), platform)


def _platform(text: str, scope: Scope, expander: Expander) -> Platform:
    expanded = expander.word(text, scope)
    unset = sorted(expanded.unset)
    if not expanded.text:
        message = f"empty platform value from expression {text}"
        raise InvalidArgument(suggested(message, unset[0], list(scope)) if unset else message)
    try:
        return parse_platform(expanded.text, machine=scope["BUILDARCH"])
    except InvalidArgument as error:
        raise InvalidArgument(f"failed to parse platform {text}: {error.message}") from error
