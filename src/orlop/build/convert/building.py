"""A stage while its instructions are carried out on paper: what it has come to so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orlop.build.convert.base import Nodes, Outside, Start
from orlop.build.convert.names import Draft, upper_first
from orlop.build.convert.stages import Bound, Source, StagePlan
from orlop.build.dockerfile.expand import Expander
from orlop.build.dockerfile.scope import DEFAULT_PATH, Scope
from orlop.build.graph import Context, History, Json, Node, NodeFiles
from orlop.build.request import BuildRequest
from orlop.errors import InvalidArgument
from orlop.formats.platform import Platform
from orlop.image.config import MAX_LAYERS

__all__ = ["Building", "Surroundings", "begin", "begin_from"]


@dataclass(slots=True)
class Surroundings:
    """What all stages of a build share. `finished` are those that can be copied from, by their place.

    `proxies` are the variables that every RUN sees, `steps` counts those of finished stages.
    """

    request: BuildRequest
    scope: Scope
    expander: Expander
    nodes: Nodes
    outside: Outside
    proxies: tuple[tuple[str, str], ...] = ()
    finished: dict[int, Building] = field(default_factory=dict)
    steps: int = 0


@dataclass(slots=True)
class Building:
    """A stage so far: `node` is its file system, `config` its image's configuration but for ``Env``.

    `env` is what the image keeps of variables; `variables` are those that instructions see, build arguments too;
    `arguments` the names that ARG has declared. `depth` counts its layers; `parent` is the stage that it starts from.
    """

    around: Surroundings
    plan: StagePlan
    node: int
    base: int
    platform: Platform
    config: Json
    env: dict[str, str]
    variables: dict[str, str]
    arguments: dict[str, str]
    depth: int = 0
    author: str = ""
    base_history: tuple[Json, ...] = ()
    parent: Building | None = None
    has_command: bool = False
    history: list[History] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)
    _environment: tuple[str, ...] | None = None
    _argument_names: frozenset[str] | None = None

    @property
    def directory(self) -> str:
        return self.config.get("WorkingDir") or "/"

    @property
    def shell(self) -> list[str]:
        return list(self.config.get("Shell") or ("/bin/sh", "-c"))

    def expand(self, word: str) -> str:
        """Expand a word's variables and take its quotes off."""
        return self.around.expander.word(word, self.variables).text

    def expand_heredoc(self, text: str) -> str:
        """Expand the variables of a heredoc, whose quotes are its own."""
        return self.around.expander.heredoc(text, self.variables).text

    def expand_words(self, text: str) -> tuple[str, ...]:
        """Expand a word that may become several."""
        return self.around.expander.words(text, self.variables)

    def shown(self, line: str) -> str:
        """Return a line with its variables expanded where that is possible, as a progress view has it."""
        try:
            return self.expand(line.strip())
        except InvalidArgument:
            return line.strip()

    def set_variable(self, name: str, value: str) -> None:
        self.variables[name] = value
        self._environment = None

    def environment(self) -> tuple[str, ...]:
        """Return the environment of a RUN."""
        if self._environment is None:
            self._environment = tuple(f"{name}={value}" for name, value in self.variables.items())
            self.around.expander.spend(_size(self.variables))
        return self._environment

    def declare(self, name: str, value: str) -> None:
        """Note that an ARG has declared `name`."""
        self.arguments[name] = value
        self._argument_names = None

    def argument_names(self) -> frozenset[str]:
        """Return the names that ARG has declared."""
        if self._argument_names is None:
            self._argument_names = frozenset(self.arguments)
        return self._argument_names

    def source_files(self, source: Source) -> Context | NodeFiles | None:
        """Return where files of a source come from; None is a stage that is not there yet."""
        if isinstance(source, str):
            return self.around.outside.files(source)
        stage = self.around.finished.get(source)
        if stage is None:
            return None
        if stage.plan.context:
            return self.around.outside.files(stage.plan.context)
        return NodeFiles(stage.node)

    def commit(self, created_by: str, *, layer: bool = False) -> None:
        """Append to the history an entry of the step that follows. Raises `InvalidArgument`."""
        self.around.expander.spend(len(created_by))
        self.history.append(History(created_by, not layer, self.around.steps + len(self.drafts) + 1))

    def metadata(self, bound: Bound) -> None:
        """Append a step that makes no file system."""
        self._draft(bound, upper_first(bound.instruction.original.strip()), counted=False)

    def grow(self, bound: Bound, node: Node, shown: str, created_by: str) -> None:
        """Append a step that makes a layer. Raises `InvalidArgument` if there are too many."""
        self.depth += 1
        if self.depth > MAX_LAYERS:
            raise InvalidArgument(f"max depth exceeded: the image has more than {MAX_LAYERS} layers")
        self.commit(created_by, layer=True)
        self.node = self.around.nodes.add(node)
        self._draft(bound, shown, counted=True)

    def _draft(self, bound: Bound, shown: str, *, counted: bool) -> None:
        instruction = bound.instruction
        text = instruction.original.strip()
        name = instruction.name.upper()
        self.drafts.append(Draft(shown, text, name, instruction.range, self.node, counted, bound.trigger))

    def start_step(self, shown: str, *, counted: bool) -> None:
        """Append the step of FROM."""
        source = self.plan.stage.source
        self.drafts.append(Draft(shown, source.original.strip(), "FROM", source.range, self.node, counted))

    def whole_history(self) -> tuple[History, ...]:
        """Return the history from the base image on."""
        stages: list[Building] = []
        stage: Building | None = self
        while stage is not None:
            stages.append(stage)
            stage = stage.parent
        return tuple(entry for stage in reversed(stages) for entry in stage.history)

    def final_config(self) -> Json:
        """Return the ``config`` object of the image, without what is empty."""
        config = {**self.config, "Env": [f"{name}={value}" for name, value in self.env.items()]}
        return {key: value for key, value in config.items() if value or key == "Env"}


def begin(around: Surroundings, plan: StagePlan, start: Start) -> Building:
    """Begin a stage from what is outside."""
    config = _copied(start.config)
    env = _pairs(config.pop("Env", None) or ())
    env.setdefault("PATH", DEFAULT_PATH)
    config.pop("OnBuild", None)
    stage = Building(
        around,
        plan,
        start.node,
        start.node,
        start.platform,
        config,
        env,
        dict(env),
        {},
        start.depth,
        start.author,
        start.history,
    )
    if config.get("WorkingDir"):
        config["WorkingDir"] = "/" + config["WorkingDir"].removeprefix("/")
    if start.made:
        stage.commit(f"FROM {plan.context or plan.base}", layer=True)
    return stage


def begin_from(around: Surroundings, plan: StagePlan, parent: Building) -> Building:
    """Begin a stage where another one has ended: its arguments are seen in this one too."""
    around.expander.spend(_size(parent.variables) + _size(parent.env) + _weight(parent.config))
    config = _copied(parent.config)
    config.pop("OnBuild", None)
    return Building(
        around,
        plan,
        parent.node,
        parent.base,
        parent.platform,
        config,
        dict(parent.env),
        parent.variables | parent.env,
        dict(parent.arguments),
        parent.depth,
        parent.author,
        parent.base_history,
        parent,
    )


def _pairs(environment: Iterable[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in environment:
        name, _, value = item.partition("=")
        pairs[name] = value
    return pairs


def _copied(config: Json) -> Json:
    """Return a configuration whose collections can be changed without changing those of `config`."""
    return {key: type(value)(value) if isinstance(value, dict | list) else value for key, value in config.items()}


def _size(variables: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) + 2 for name, value in variables.items())


def _weight(config: Json) -> int:
    """Return about how large the collections of a configuration are."""
    return sum(64 * len(value) for value in config.values() if isinstance(value, dict | list))
