"""A Dockerfile with its variables put in, as far as that can be known before anything is built.

All stages are read in their order, whether a target needs them or not. What goes wrong on the way is left out: the
build itself says so. Of a stage whose base is not known it is not known either which variables it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from orlop.build.dockerfile import tree
from orlop.build.dockerfile.expand import Expanded, Expander
from orlop.build.dockerfile.parser import parse_instruction
from orlop.build.dockerfile.scope import DEFAULT_PATH, NOT_VARIABLES, Given, Scope, argument_value, predefined
from orlop.build.dockerfile.suggest import nearest
from orlop.build.dockerfile.tree import Dockerfile, Instruction, Pair, Range, Stage
from orlop.build.dockerfile.usage import heredoc_words, words
from orlop.errors import InvalidArgument
from orlop.formats.platform import Platform
from orlop.formats.platform import parse as parse_platform

__all__ = ["Base", "Bases", "Declared", "Known", "Reading", "StageReading", "Use", "default_bases", "read"]

_LINUX = Platform("linux", "amd64")
_SCRATCH = "scratch"
_ENTRY = 64  # characters that a name is worth beyond its text
_COMPARISONS = 200_000  # names that are compared to find those that were meant


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What is known of an image: its variables, whether it has a SHELL, its platform and its ONBUILD triggers."""

    environment: Mapping[str, str]
    shell: bool = False
    platform: Platform | None = None
    triggers: tuple[str, ...] = ()


Bases = Callable[[str, Platform], Base | None]
"""Returns what is known of the image that FROM names, for a platform; None is nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a build beyond its Dockerfile. `stage` is the one that was asked for, "" for the last."""

    arguments: Given = field(default_factory=dict)
    target: Platform = _LINUX
    host: Platform = _LINUX
    stage: str = ""
    bases: Bases = lambda name, platform: None


@dataclass(frozen=True, slots=True)
class Declared:
    """An ARG: its value, "" without one, and the arguments that its default is made of."""

    pair: Pair
    value: str
    range: Range
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Use:
    """An instruction with its words expanded, in the order of `usage.words`; None is one that could not be.

    `undefined` are the names that it uses and that nothing defines, word by word, each with the one that was meant.
    """

    instruction: Instruction
    words: tuple[Expanded | None, ...]
    undefined: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class StageReading:
    """A stage: the words of its FROM, its instructions (triggers of its base first), and what it ends with.

    `parent` is the place of the stage that it starts from, `image` what is known of its base. `known` says that
    `variables` are all that there are. `declared` are its own ARGs, `arguments` the names of all that it sees.
    """

    stage: Stage
    base: Expanded | None
    platform: Expanded | None
    parent: int | None = None
    image: Base | None = None
    wanted: Platform = _LINUX
    known: bool = False
    uses: list[Use] = field(default_factory=list)
    variables: Scope = field(default_factory=dict)
    arguments: set[str] = field(default_factory=set)
    declared: dict[str, Declared] = field(default_factory=dict)

    @property
    def base_name(self) -> str:
        return self.base.text if self.base else self.stage.source.base


@dataclass(frozen=True, slots=True)
class Reading:
    """The whole Dockerfile. `scope` is the global one, `arguments` are the ARGs above the first FROM."""

    scope: Scope
    arguments: Mapping[str, Declared]
    stages: tuple[StageReading, ...]


def read(dockerfile: Dockerfile, known: Known) -> Reading:
    """Read all stages."""
    expander = Expander(dockerfile.directives.escape)
    scope, arguments = global_scope(dockerfile, known, expander)
    reader = _Reader(dockerfile, known, expander, scope)
    return Reading(scope, arguments, tuple(reader.stage(stage) for stage in dockerfile.stages))


def default_bases(dockerfile: Dockerfile, known: Known) -> tuple[str, ...]:
    """Return what stages start from if the client gives no arguments, up to the first for which that cannot be said."""
    expander = Expander(dockerfile.directives.escape)
    scope, arguments = global_scope(dockerfile, replace(known, arguments={}), expander)
    if any(item.pair.value is not None and name not in scope for name, item in arguments.items()):
        return ()  # a default that cannot be expanded
    words = (_expanded(expander, stage.source.base, scope) for stage in dockerfile.stages)
    return tuple(word.text for word in takewhile(lambda word: word is not None, words) if word is not None)


def global_scope(dockerfile: Dockerfile, known: Known, expander: Expander) -> tuple[Scope, dict[str, Declared]]:
    """Return what FROM may use, and the ARGs above it. A default that cannot be expanded is no value."""
    scope = predefined(dockerfile, known.arguments, known.target, known.host, known.stage)
    declared: dict[str, Declared] = {}
    for instruction in dockerfile.arguments:
        for pair in instruction.pairs:
            value, needs = known.arguments.get(pair.name), frozenset[str]()
            if pair.name not in known.arguments and pair.value is not None:
                expanded = _expanded(expander, pair.value, scope)
                if expanded is not None:
                    value, needs = expanded.text, _needs(expanded.used, pair.name, declared)
            if value is not None:
                scope[pair.name] = value
            declared[pair.name] = Declared(pair, value or "", instruction.range, needs)
    return scope, declared


def _needs(used: frozenset[str], name: str, declared: Mapping[str, Declared]) -> frozenset[str]:
    """Return what a default is made of: where that is an earlier value of its own name, what this was made of."""
    if name not in used:
        return used
    return (used - {name}) | (declared[name].needs if name in declared else frozenset())


def _expanded(expander: Expander, text: str, variables: Mapping[str, str]) -> Expanded | None:
    try:
        return expander.word(text, variables)
    except InvalidArgument:
        return None


class _Reader:
    """Reads one stage after the other."""

    def __init__(self, dockerfile: Dockerfile, known: Known, expander: Expander, scope: Scope) -> None:
        self._escape = dockerfile.directives.escape
        self._known = known
        self._expander = expander
        self._scope = scope
        self._stages: list[StageReading] = []
        self._places: dict[str, int] = {}
        self._comparisons = _COMPARISONS

    def stage(self, stage: Stage) -> StageReading:
        """Read the stage that follows."""
        source = stage.source
        reading = StageReading(stage, self._expand(source.base, self._scope), None)
        if source.platform:
            reading.platform = self._expand(source.platform, self._scope)
        reading.wanted = self._platform(reading.platform)
        reading.parent = self._places.get(reading.base_name.lower())
        triggers = self._begin(reading)
        for instruction in (*self._triggers(triggers, source.range), *stage.instructions):
            reading.uses.append(self._use(reading, instruction))
        if stage.name:
            self._places[stage.name] = len(self._stages)
        self._stages.append(reading)
        return reading

    def _platform(self, expanded: Expanded | None) -> Platform:
        if expanded is not None:
            try:
                return parse_platform(expanded.text, machine=self._known.host.architecture)
            except InvalidArgument:
                pass  # the build says so
        return self._known.target

    def _begin(self, reading: StageReading) -> tuple[str, ...]:
        """Give a stage what its base has; return the triggers of that."""
        if reading.parent is not None:
            parent = self._stages[reading.parent]
            reading.known = parent.known and self._spend(parent.variables, len(parent.arguments))
            reading.variables = dict(parent.variables) if reading.known else {}
            reading.arguments = set(parent.arguments) if reading.known else set()
            reading.wanted = parent.wanted
            return tuple(item.expression for item in parent.stage.instructions if isinstance(item, tree.OnBuild))
        if reading.base_name != _SCRATCH:
            reading.image = self._known.bases(reading.base_name, reading.wanted)
        image = reading.image
        reading.known = reading.base_name == _SCRATCH or (image is not None and self._spend(image.environment))
        reading.variables = {"PATH": DEFAULT_PATH, **(image.environment if image and reading.known else {})}
        return image.triggers if image else ()

    def _spend(self, variables: Mapping[str, str], others: int = 0) -> bool:
        """Account for a copy of `variables`; tell whether there is room for it."""
        size = sum(len(name) + len(value) for name, value in variables.items())
        try:
            self._expander.spend(size + (len(variables) + others) * _ENTRY)
        except InvalidArgument:
            return False
        return True

    def _triggers(self, expressions: tuple[str, ...], place: Range) -> Iterator[Instruction]:
        for expression in expressions:
            try:
                instruction = parse_instruction(expression, escape=self._escape)
            except InvalidArgument:
                continue
            yield replace(instruction, range=place)

    def _use(self, reading: StageReading, instruction: Instruction) -> Use:
        if isinstance(instruction, tree.Arg):
            return self._argument(reading, instruction)
        found = [self._expand(text, reading.variables) for text in words(instruction)]
        found += [self._heredoc(text, reading.variables) for text in heredoc_words(instruction)]
        exposed = isinstance(instruction, tree.Expose)  # BuildKit does not look at its words
        undefined = () if exposed else tuple(self._undefined(reading, found))
        if isinstance(instruction, tree.Env):
            for pair, name, value in zip(instruction.pairs, found[::2], found[1::2], strict=True):
                reading.variables[name.text if name else pair.name] = value.text if value else ""
        return Use(instruction, tuple(found), undefined)

    def _argument(self, reading: StageReading, instruction: tree.Arg) -> Use:
        found: list[Expanded | None] = []
        undefined: list[tuple[str, str]] = []
        for pair in instruction.pairs:
            value, is_default = argument_value(pair, self._known.arguments, self._scope)
            if is_default and value is not None:
                found.append(self._expand(value, reading.variables))
                undefined += self._undefined(reading, found[-1:])
                value = found[-1].text if found[-1] else ""
            if value is not None and pair.name not in NOT_VARIABLES:
                reading.variables[pair.name] = value
            reading.arguments.add(pair.name)
            if pair.value is not None or pair.name in self._known.arguments or pair.name not in self._scope:
                reading.declared[pair.name] = Declared(pair, value or "", instruction.range)
        return Use(instruction, tuple(found), tuple(undefined))

    def _undefined(self, reading: StageReading, found: Sequence[Expanded | None]) -> Iterator[tuple[str, str]]:
        """Yield the names in words that nothing defines, each with the name that was meant, "" for none."""
        if not reading.known:
            return
        for word in found:
            for name in sorted(word.unset - reading.arguments - NOT_VARIABLES) if word is not None else ():
                self._comparisons -= len(reading.variables)
                yield name, nearest(name, reading.variables) if self._comparisons >= 0 else ""

    def _expand(self, text: str, variables: Mapping[str, str]) -> Expanded | None:
        return _expanded(self._expander, text, variables)

    def _heredoc(self, text: str, variables: Mapping[str, str]) -> Expanded | None:
        try:
            return self._expander.heredoc(text, variables)
        except InvalidArgument:
            return None
