"""Rules on the casing of words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orlop.build.dockerfile import tree
from orlop.build.dockerfile.check.rule import warning
from orlop.build.dockerfile.tree import Dockerfile, Warning

__all__ = ["check_casing"]

_AS = re.compile(r"\s(as)\s+(\S+)\s*$", re.IGNORECASE)


def check_casing(dockerfile: Dockerfile) -> Iterator[Warning]:
    """Yield StageNameCasing, FromAsCasing and ConsistentInstructionCasing."""
    instructions = [*dockerfile.arguments]
    for stage in dockerfile.stages:
        yield from _stage(stage.source)
    yield from _consistent(
        [*instructions, *(item for stage in dockerfile.stages for item in (stage.source, *stage.instructions))]
    )


def _stage(source: tree.From) -> Iterator[Warning]:
    found = _AS.search(source.original)
    if found is None:
        return
    keyword, name = found[1], found[2]
    if name != name.lower():
        yield warning("StageNameCasing", f"Stage name '{name}' should be lowercase", source.range)
    if _is_upper(keyword) != _is_upper(source.word):
        yield warning("FromAsCasing", f"'{keyword}' and '{source.word}' keywords' casing do not match", source.range)


def _consistent(instructions: list[tree.Instruction]) -> Iterator[Warning]:
    words = [item.word for item in instructions]
    lower = sum(word == word.lower() for word in words)
    upper = sum(word == word.upper() for word in words)
    majority = "lowercase" if lower > upper else "uppercase"
    for item in instructions:
        wanted = item.word.lower() if majority == "lowercase" else item.word.upper()
        if item.word != wanted:
            yield warning(
                "ConsistentInstructionCasing",
                f"Command '{item.word}' should match the case of the command majority ({majority})",
                item.range,
            )


def _is_upper(word: str) -> bool:
    return word == word.upper()
