"""Which words of an instruction have their variables put in."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from orlop.build.dockerfile import tree
from orlop.build.dockerfile.tree import Instruction

__all__ = ["heredoc_words", "mount_fields", "words"]


def words(instruction: Instruction) -> Iterator[str]:
    """Yield the words that are expanded, those of heredocs aside: sources first, name and value in turn.

    The defaults of ARG see the arguments before them, and are not among these.
    """
    match instruction:
        case tree.Copy():
            yield from (*instruction.sources, instruction.destination)
            yield from (instruction.chown, instruction.chmod, instruction.checksum)
        case tree.Env() | tree.Label():
            for pair in instruction.pairs:
                yield from (pair.name, pair.value or "")
        case tree.Expose():
            yield from instruction.ports
        case tree.Run():
            for text in instruction.mounts:
                yield from mount_fields(text).values()
        case tree.StopSignal():
            yield instruction.signal
        case tree.User():
            yield instruction.user
        case tree.Volume():
            yield from instruction.paths
        case tree.Workdir():
            yield instruction.path


def heredoc_words(instruction: Instruction) -> Iterator[str]:
    """Yield what heredocs hold that are files and whose variables are put in."""
    if isinstance(instruction, tree.Copy):
        yield from (heredoc.text for heredoc in instruction.heredocs if heredoc.expand)


def mount_fields(text: str) -> dict[str, str]:
    """Return the fields of a ``--mount`` by their names in small letters, "" for one without a value.

    One that cannot be read has none.
    """
    try:
        fields = [field.partition("=") for row in csv.reader([text], strict=True) for field in row]
    except csv.Error:
        return {}
    return {name.lower(): value for name, _, value in fields}
