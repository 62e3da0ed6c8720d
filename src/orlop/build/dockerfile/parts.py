"""What the readers of instructions share: the fields that all have, and the number of words."""

from __future__ import annotations

from typing import TypedDict

from orlop.build.dockerfile.statement import Statement
from orlop.build.dockerfile.tree import Flag, Heredoc, Range
from orlop.build.dockerfile.words import SPACE

__all__ = ["Common", "common", "exactly_one", "some"]


class Common(TypedDict):
    """The fields of `orlop.build.dockerfile.tree.Instruction`."""

    name: str
    original: str
    range: Range
    word: str
    flags: tuple[Flag, ...]
    heredocs: tuple[Heredoc, ...]
    comment: str


def common(statement: Statement, heredocs: tuple[Heredoc, ...] | None = None) -> Common:
    """Return the fields that every instruction has; `heredocs` are those of the statement if they are not given."""
    return Common(
        name=statement.name,
        original=statement.text.strip(SPACE),
        range=statement.range,
        word=statement.word,
        flags=statement.flags,
        heredocs=statement.heredocs if heredocs is None else heredocs,
        comment="\n".join(statement.line.comments),
    )


def some(statement: Statement) -> tuple[str, ...]:
    """Return the words, of which there must be one at least. Raises `DockerfileError`."""
    if not statement.arguments:
        raise statement.error(f"{statement.name.upper()} requires at least one argument")
    return statement.arguments


def exactly_one(statement: Statement) -> str:
    """Return the only word. Raises `DockerfileError`."""
    if len(statement.arguments) != 1:
        raise statement.error(f"{statement.name.upper()} requires exactly one argument")
    return statement.arguments[0]
