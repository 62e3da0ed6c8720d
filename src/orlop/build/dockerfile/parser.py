"""Dockerfiles and single instructions: from text to the tree.

Time and memory are linear to the text, of which there are 16 MiB at most. Nothing but `DockerfileError` is raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orlop.build.dockerfile.directives import read_directives
from orlop.build.dockerfile.errors import DockerfileError
from orlop.build.dockerfile.frontend import check_frontend
from orlop.build.dockerfile.instructions import instruction
from orlop.build.dockerfile.lexer import Lexer, source_lines
from orlop.build.dockerfile.statement import Statement, next_statement
from orlop.build.dockerfile.tree import Arg, Dockerfile, From, Instruction, Range, Stage, Warning
from orlop.errors import InvalidArgument

__all__ = ["parse", "parse_instruction", "statements"]


def parse(text: str | bytes, *, syntax: str = "") -> Dockerfile:
    """Return the tree of a Dockerfile; bytes that are no UTF-8 become U+FFFD. Raises `DockerfileError`.

    A Dockerfile that holds nothing but ARGs has no stages. `syntax` is the frontend that is to read it, whatever it
    says of that itself (``--build-arg BUILDKIT_SYNTAX``).
    """
    lines = source_lines(text)
    try:
        return _parsed(lines, syntax)
    except DockerfileError as error:
        error.lines = lines
        raise


def parse_instruction(text: str, *, escape: str = "\\") -> Instruction:
    """Return the one instruction that `text` is, a trigger of ONBUILD. Raises `DockerfileError`."""
    lexer = Lexer(source_lines(text), escape=escape)
    found = list(_statements(lexer, escape))
    if len(found) != 1:
        raise DockerfileError("onbuild trigger should be a single expression")
    statement = found[0]
    if statement.name in ("from", "maintainer"):
        raise statement.error(f"{statement.name.upper()} isn't allowed as an ONBUILD trigger")
    if statement.name == "onbuild":
        raise statement.error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    return instruction(statement)


def statements(text: str | bytes) -> Iterator[Statement]:
    """Yield the instructions of a Dockerfile by their form alone. Raises `DockerfileError`."""
    lines = source_lines(text)
    top = read_directives(lines)
    escape = top.directives.escape
    return _statements(Lexer(lines, escape=escape, first=top.lines), escape)


def _statements(lexer: Lexer, escape: str) -> Iterator[Statement]:
    statement = next_statement(lexer, escape)
    if statement is None:
        raise DockerfileError("file with no instructions")
    while statement is not None:
        yield statement
        statement = next_statement(lexer, escape)


def _parsed(lines: Sequence[str], syntax: str) -> Dockerfile:
    top = read_directives(lines)
    directives = top.directives
    warnings = _frontend_warnings(syntax or directives.syntax, None if syntax else top.syntax)
    lexer = Lexer(lines, escape=directives.escape, first=top.lines)
    arguments: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for statement in _statements(lexer, directives.escape):
        read = instruction(statement)
        if isinstance(read, From):
            stages.append((read, []))
        elif stages:
            stages[-1][1].append(read)
        elif isinstance(read, Arg):
            arguments.append(read)
        else:
            raise statement.error("no build stage in current context")
    return Dockerfile(
        directives,
        tuple(arguments),
        tuple(Stage(source, tuple(instructions)) for source, instructions in stages),
        tuple(lines),
        (*warnings, *lexer.warnings),
    )


def _frontend_warnings(syntax: str, place: Range | None) -> list[Warning]:
    if not syntax:
        return []
    try:
        warning = check_frontend(syntax)
    except InvalidArgument as error:
        raise DockerfileError(error.message, place) from None
    return [Warning("FrontendVersion", warning, place)] if warning else []
