"""How steps are called in a progress view: ``[build 2/5] RUN make``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orlop.build.dockerfile.tree import Range
from orlop.build.graph import Step

__all__ = ["Draft", "command_shown", "heredoc_summary", "steps", "upper_first"]


_NAME = r"\$(?:(?P<plain>[a-zA-Z_][a-zA-Z0-9_]*)|\{(?P<braced>[a-zA-Z_][a-zA-Z0-9_]*)\})"
_VARIABLE = re.compile(rf"\\.|{_NAME}", re.DOTALL)
_PIECE = re.compile(rf"""\\.|'[^']*'|(?P<quoted>"(?:\\.|[^"\\])*")|{_NAME}|[^\\'"$]+|.""", re.DOTALL)
_LONGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Draft:
    """A step before it is known how many its stage has. `counted` says that it takes part in the count."""

    shown: str
    text: str
    instruction: str
    range: Range
    node: int
    counted: bool
    trigger: bool = False


def upper_first(text: str) -> str:
    """Return an instruction with its name in capitals."""
    name, space, rest = text.partition(" ")
    return name.upper() + space + rest


def command_shown(line: str, variables: Mapping[str, str]) -> str:
    """Return a command with the variables that have a value here put in; the others may be the shell's own.

    Quotes and escapes stay, and what they protect.
    """
    size = 0
    pieces: list[str] = []
    for match in _PIECE.finditer(line):
        quoted, name = match["quoted"], match["plain"] or match["braced"]
        piece = _VARIABLE.sub(lambda found: _value(found, variables), quoted) if quoted else match[0]
        pieces.append(_value(match, variables) if name else piece)
        size += len(pieces[-1])
        if size > _LONGEST:
            return line
    return "".join(pieces)


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    value = variables.get(match["plain"] or match["braced"] or "", match[0])
    return value if len(value) <= _LONGEST // 16 else match[0]


def heredoc_summary(text: str) -> str:
    """Return the first line of a heredoc, with an ellipsis if there are more."""
    first, *more = text.strip().replace("\r\n", "\n").split("\n")
    return first + "..." if more else first


def steps(drafts: Sequence[Draft], first: int, stage: str, shown_stage: str, *, no_cache: bool) -> list[Step]:
    """Return the steps of a stage, numbered from `first`. `shown_stage` is "" where the stage goes without saying."""
    total = sum(draft.counted for draft in drafts)
    width = len(str(total))
    index = 0
    made: list[Step] = []
    for number, draft in enumerate(drafts, first):
        index += draft.counted
        count = f"{index:{width}}/{total}" if draft.counted else ""
        label = " ".join(filter(None, (shown_stage, count)))
        made.append(
            Step(
                number,
                (f"[{label}] " if label else "") + ("ONBUILD " if draft.trigger else "") + draft.shown,
                draft.text,
                stage,
                draft.instruction,
                draft.range,
                draft.node,
                metadata=not draft.counted,
                no_cache=no_cache,
            )
        )
    return made
