"""Rules on small letters and capitals."""

from __future__ import annotations

from collections.abc import Iterator

from orlop.build.dockerfile import tree
from orlop.build.dockerfile.check.subject import Found, Subject

__all__ = ["expose_proto_casing", "from_as_casing", "instruction_casing", "stage_name_casing"]


def stage_name_casing(subject: Subject) -> Iterator[Found]:
    for stage in subject.dockerfile.stages:
        name = stage.source.alias_word
        if name != name.lower():
            yield stage.source.range, f"Stage name '{name}' should be lowercase"


def from_as_casing(subject: Subject) -> Iterator[Found]:
    for stage in subject.dockerfile.stages:
        source = stage.source
        if source.word not in (source.word.lower(), source.word.upper()):
            continue  # which is another rule's matter
        wanted = source.as_word.lower() if source.word == source.word.lower() else source.as_word.upper()
        if source.as_word != wanted:
            yield source.range, f"'{source.as_word}' and '{source.word}' keywords' casing do not match"


def instruction_casing(subject: Subject) -> Iterator[Found]:
    words = [instruction.word for instruction in subject.instructions()]
    lower = sum(word == word.lower() for word in words)
    upper = sum(word == word.upper() for word in words)
    for instruction in subject.instructions():
        word = instruction.word
        wanted = word.lower() if lower > upper else word.upper()
        if word != wanted:
            casing = "lowercase" if lower > upper else "uppercase"
            yield instruction.range, f"Command '{word}' should match the case of the command majority ({casing})"


def expose_proto_casing(subject: Subject) -> Iterator[Found]:
    for use in subject.uses():
        if isinstance(use.instruction, tree.Expose):
            for port in (port for word in use.words if word is not None for port in word.words):
                protocol = port.rpartition(":")[2].partition("/")[2]
                if protocol != protocol.lower():
                    text = f"Defined protocol '{port}' in EXPOSE instruction should be lowercase"
                    yield use.instruction.range, text
