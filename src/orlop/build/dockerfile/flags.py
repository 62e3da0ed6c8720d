"""The flags of an instruction, held against those that it knows."""

from __future__ import annotations

from collections.abc import Sequence

from orlop.build.dockerfile.statement import Statement
from orlop.build.dockerfile.suggest import suggested
from orlop.build.dockerfile.tree import Flag

__all__ = ["FlagValues", "read_flags"]


class FlagValues:
    """What the flags of one instruction say."""

    def __init__(self, texts: dict[str, list[str]], switches: dict[str, bool]) -> None:
        self._texts = texts
        self._switches = switches

    def text(self, name: str) -> str:
        """Return a flag's value, "" where it was not given."""
        return self._texts.get(name, [""])[-1]

    def texts(self, name: str) -> tuple[str, ...]:
        """Return all values of a flag that may be repeated."""
        return tuple(self._texts.get(name, ()))

    def switch(self, name: str) -> bool | None:
        """Return what a flag without a value or with ``=true`` or ``=false`` says, None where it was not given."""
        return self._switches.get(name)


def read_flags(
    statement: Statement, single: Sequence[str] = (), repeated: Sequence[str] = (), switches: Sequence[str] = ()
) -> FlagValues:
    """Return the values of a statement's flags. Raises `DockerfileError` for one that is unknown, repeated or wrong."""
    texts: dict[str, list[str]] = {}
    switched: dict[str, bool] = {}
    known = (*single, *repeated, *switches)
    for flag in statement.flags:
        name, value = flag.name, flag.value
        if name not in known:
            raise statement.error(suggested(f"unknown flag: --{name}", name, known), flag.range)
        if name in switched or (name in texts and name not in repeated):
            raise statement.error(f"duplicate flag specified: --{name}", flag.range)
        if name in switches:
            switched[name] = _switch(statement, flag)
        elif value is None:
            raise statement.error(f"missing a value on flag: --{name}", flag.range)
        else:
            texts.setdefault(name, []).append(value)
    return FlagValues(texts, switched)


def _switch(statement: Statement, flag: Flag) -> bool:
    if flag.value == "":
        raise statement.error(f"missing a value on flag: --{flag.name}", flag.range)
    match flag.value and flag.value.lower():
        case None | "true":
            return True
        case "false":
            return False
        case _:
            message = f"expecting boolean value for flag --{flag.name}, not: {flag.value}"
            raise statement.error(message, flag.range)
