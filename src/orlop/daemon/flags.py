"""Command lines as dockerd reads them: pflag's grammar, and its error texts.

``--name``, ``--name=value``, ``--name value`` (not for truth values), ``-x``, ``-xvalue``, ``-x=value``, ``-xyz``. What
is parsed is only what was given: defaults are the configuration's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orlop.errors import InvalidArgument

__all__ = ["Flag", "Kind", "parse"]

Kind = Literal["bool", "int", "string", "list"]

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag.

    `key` is its name in ``daemon.json`` where that is another one, None where it has none. `lacks` says why Orlop does
    not have a flag of dockerd, and what to do instead; with `only` it has it as far as one of these values is given.
    """

    name: str
    kind: Kind = "string"
    usage: str = ""
    short: str = ""
    key: str | None = ""
    lacks: str = ""
    only: tuple[str, ...] = ()

    @property
    def file_key(self) -> str | None:
        """The name in ``daemon.json``."""
        return self.name if self.key == "" else self.key

    @property
    def title(self) -> str:
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


def parse(arguments: Sequence[str], flags: Iterable[Flag]) -> tuple[dict[str, Any], list[str]]:
    """Return the values by flag name (lists for flags that may be repeated) and the words that are no flags.

    Raises `InvalidArgument` with pflag's texts.
    """
    parser = _Parser(flags)
    parser.parse(list(arguments))
    return parser.values, parser.words


class _Parser:
    def __init__(self, flags: Iterable[Flag]) -> None:
        self._long: Mapping[str, Flag] = {flag.name: flag for flag in flags}
        self._short: Mapping[str, Flag] = {flag.short: flag for flag in self._long.values() if flag.short}
        self.values: dict[str, Any] = {}
        self.words: list[str] = []

    def parse(self, arguments: list[str]) -> None:
        while arguments:
            word = arguments.pop(0)
            if word == "--":
                self.words += arguments
                return
            if word.startswith("--"):
                self._parse_long(word, arguments)
            elif word.startswith("-") and word != "-":
                self._parse_short(word, arguments)
            else:
                self.words.append(word)

    def _parse_long(self, word: str, rest: list[str]) -> None:
        name, separator, value = word[2:].partition("=")
        if not name or name.startswith(("-", "=")):
            raise InvalidArgument(f"bad flag syntax: {word}")
        flag = self._long.get(name)
        if flag is None:
            raise InvalidArgument(f"unknown flag: --{name}")
        if separator:
            self._set(flag, value)
        elif flag.kind == "bool":
            self._set(flag, "true")
        elif rest:
            self._set(flag, rest.pop(0))
        else:
            raise InvalidArgument(f"flag needs an argument: --{name}")

    def _parse_short(self, word: str, rest: list[str]) -> None:
        letters = word[1:]
        while letters:
            flag = self._short.get(letters[0])
            if flag is None:
                raise InvalidArgument(f"unknown shorthand flag: '{letters[0]}' in {word}")
            letter, letters = letters[0], letters[1:]
            if letters.startswith("="):
                return self._set(flag, letters[1:])
            if flag.kind == "bool":
                self._set(flag, "true")
            elif letters:
                return self._set(flag, letters)
            elif rest:
                return self._set(flag, rest.pop(0))
            else:
                raise InvalidArgument(f"flag needs an argument: '{letter}' in {word}")
        return None

    def _set(self, flag: Flag, text: str) -> None:
        if flag.kind == "list":
            self.values.setdefault(flag.name, []).append(text)
            return
        read = _READERS[flag.kind]
        try:
            self.values[flag.name] = read(text)
        except ValueError as error:
            raise InvalidArgument(f'invalid argument "{text}" for "{flag.title}" flag: {error}') from None


def _bool(text: str) -> bool:
    if text not in _TRUE and text not in _FALSE:
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return text in _TRUE


def _int(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


_READERS: Mapping[Kind, Callable[[str], Any]] = {"bool": _bool, "int": _int, "string": str}
