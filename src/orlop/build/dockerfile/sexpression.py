"""A Dockerfile as s-expressions, one a line: the form in which parsers of Dockerfiles are compared."""

from __future__ import annotations

from orlop.build.dockerfile.parser import statements
from orlop.build.dockerfile.statement import Statement
from orlop.build.dockerfile.tree import Flag
from orlop.formats.template import go_quote

__all__ = ["dump"]


def dump(text: str | bytes) -> str:
    """Return ``(name ["--flag"] "word"...)`` for each instruction of a Dockerfile, words as they are written.

    Only the form is looked at: unknown flags, wrong numbers of words and a missing FROM are no errors here, while
    unknown instructions are. Raises `DockerfileError`.
    """
    return "\n".join(map(_expression, statements(text)))


def _expression(statement: Statement) -> str:
    parts = [statement.name]
    if statement.flags:
        parts.append("[" + " ".join(_quoted(_flag(flag)) for flag in statement.flags) + "]")
    parts += map(_quoted, statement.arguments)
    if statement.carried is not None:
        parts.append(_expression(statement.carried))
    return "(" + " ".join(parts) + ")"


def _flag(flag: Flag) -> str:
    return f"--{flag.name}" if flag.value is None else f"--{flag.name}={flag.value}"


def _quoted(word: str) -> str:
    if word.isprintable() and '"' not in word and "\\" not in word:
        return f'"{word}"'
    return go_quote(word)
