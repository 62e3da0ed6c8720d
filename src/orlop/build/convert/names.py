"""How steps are called in a progress view: ``[build 2/5] RUN make``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orlop.build.dockerfile.tree import Range
from orlop.build.graph import Step

__all__ = ["Draft", "heredoc_summary", "steps", "upper_first"]


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
