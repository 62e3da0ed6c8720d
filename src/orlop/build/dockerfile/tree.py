"""The tree of a Dockerfile: what was written, by line and column, before any variable is expanded.

A word is kept as it was written, with its quotes, backslashes and variables, where the instruction expands it
(`orlop.build.dockerfile.expand`); the shell form of a command is never touched. Lines and columns count from 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "Arg",
    "Command",
    "Copy",
    "Directives",
    "Dockerfile",
    "Env",
    "Expose",
    "Flag",
    "From",
    "Healthcheck",
    "Heredoc",
    "Instruction",
    "Label",
    "Maintainer",
    "OnBuild",
    "Pair",
    "Range",
    "Run",
    "Shell",
    "Stage",
    "StopSignal",
    "User",
    "Volume",
    "Warning",
    "Workdir",
]


@dataclass(frozen=True, slots=True)
class Range:
    """Where something stands: first and last line, and the column of its first character."""

    line: int
    end: int
    column: int = 1


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A heredoc: `text` is what it holds, tabs removed already where ``<<-`` asked for it.

    `expand` says that variables in it are expanded (its word was not quoted). `descriptor` is the number before ``<<``.
    `raw` is what it holds with all its tabs.
    """

    name: str
    text: str
    expand: bool
    range: Range
    descriptor: int = 0
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Flag:
    """``--name=value`` before the arguments; `value` is None where there was no ``=``."""

    name: str
    value: str | None
    range: Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What all instructions have. `name` is in lower case; `original` is the text without its continuations.

    `flags` are those that were written, in their order; those known are in fields of their own, too.
    `word` is the instruction as it was spelled (`RUN`, `Run`). `comment` is the comment right above it, for outlines.
    """

    name: str
    original: str
    range: Range
    word: str = ""
    flags: tuple[Flag, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """A name and its value; None is an ARG without a default. `quoted` is false for the old form ``ENV name value``."""

    name: str
    value: str | None
    equals: bool = True
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """FROM: `base` and `platform` unexpanded, `alias` in lower case ("" without AS).

    `as_word` and `alias_word` are AS and the alias as they were spelled.
    """

    base: str
    alias: str = ""
    platform: str = ""
    as_word: str = ""
    alias_word: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Instruction):
    """CMD and ENTRYPOINT: the words of the JSON form, or one word, the line for a shell."""

    words: tuple[str, ...]
    shell: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Instruction):
    """RUN. `mounts` are the values of ``--mount``, unexpanded; `heredocs` follow the line in the shell form."""

    words: tuple[str, ...]
    shell: bool
    mounts: tuple[str, ...] = ()
    network: str = ""
    security: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Instruction):
    """COPY and ADD (`name` tells which): sources and destination as written; a source ``<<EOF`` is a heredoc's.

    A heredoc stands in `heredocs` in the order of its sources; `sources` holds the others alone.
    """

    sources: tuple[str, ...]
    destination: str
    from_: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()
    keep_git_dir: bool | None = None
    checksum: str = ""
    unpack: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    """EXPOSE: `ports` in their order as text."""

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal(Instruction):
    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    maintainer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Instruction):
    """HEALTHCHECK: `kind` is NONE, CMD or CMD-SHELL; times in ns, None where they were not given."""

    kind: str
    words: tuple[str, ...] = ()
    interval: int | None = None
    timeout: int | None = None
    start_period: int | None = None
    start_interval: int | None = None
    retries: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnBuild(Instruction):
    """ONBUILD: `expression` is what goes into the image, `carried` the instruction that it holds."""

    expression: str
    carried: Instruction


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: `name` is its alias or ""."""

    source: From
    instructions: tuple[Instruction, ...] = ()

    @property
    def name(self) -> str:
        return self.source.alias


@dataclass(frozen=True, slots=True)
class Directives:
    """The parser directives at the top: ``syntax``, ``escape`` and ``check`` with its options."""

    syntax: str = ""
    escape: str = "\\"
    check_skip: tuple[str, ...] = ()
    check_error: bool = False
    check_experimental: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Warning:
    """What a check found: `rule` is its name (``FromAsCasing``), `url` its page, `range` where it was found."""

    rule: str
    message: str
    range: Range | None = None
    description: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole Dockerfile. `arguments` are the ARGs before the first FROM; `lines` the source, for error messages."""

    directives: Directives
    arguments: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    lines: tuple[str, ...] = field(repr=False, default=())
    warnings: tuple[Warning, ...] = ()
