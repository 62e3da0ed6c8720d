"""Command-line flags with the grammar of Docker's client (Go's pflag), its values and its error messages.

``--name value``, ``--name=value``, ``-n value``, ``-nvalue``, ``-n=value``; switches take a value only behind ``=``
(``--rm=false``) and may be joined (``-itd``); ``--`` ends the flags; some commands end them at the first argument.
A library's parser was measured and not taken: see `docs/dependencies.md` for the figures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from orlop.cli.failure import FlagError
from orlop.formats.template import go_quote

__all__ = [
    "BOOL",
    "INT",
    "INT64",
    "LIST",
    "MAP",
    "STRING",
    "STRINGS",
    "UINT16",
    "UINT64",
    "Flag",
    "FlagError",
    "Kind",
    "Options",
    "integer",
    "listed",
    "parse_arguments",
    "parse_bool",
]


class Kind:
    """What a flag takes: `label` is the word in the help, `add` makes the new value from the old one and a text.

    `add` raises ValueError with docker's message. `empty` makes the value of a flag that was not given; `zero` are
    the default texts that the help leaves out.
    """

    __slots__ = ("add", "empty", "label", "zero")

    def __init__(
        self, label: str, add: Callable[[Any, str], Any], empty: Callable[[], Any], zero: tuple[str, ...] = ("",)
    ) -> None:
        self.label = label
        self.add = add
        self.empty = empty
        self.zero = zero


_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


def parse_bool(text: str) -> bool:
    """Return what Go's strconv.ParseBool makes of `text`, or raise ValueError with its message."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"strconv.ParseBool: parsing {go_quote(text)}: invalid syntax")


def integer(low: int, high: int, function: str, base: int = 0) -> Callable[[Any, str], int]:
    """Return a parser for integers in a range that fails as Go's strconv does."""

    def parse(_: Any, text: str) -> int:
        try:
            value = int(text, base)
        except ValueError:
            # Go reads "010" as octal where Python refuses it.
            digits = text.lstrip("+-")
            if base == 0 and digits.isdecimal() and digits.startswith("0"):
                value = int(text, 8) if all(digit in "01234567" for digit in digits) else _syntax(function, text)
            else:
                value = _syntax(function, text)
        if not low <= value <= high:
            raise ValueError(f"strconv.{function}: parsing {go_quote(text)}: value out of range")
        return value

    return parse


def _syntax(function: str, text: str) -> int:
    raise ValueError(f"strconv.{function}: parsing {go_quote(text)}: invalid syntax")


def listed(check: Callable[[str], Any] | None = None, label: str = "list", zero: str = "") -> Kind:
    """Return the kind of a flag that may be repeated; `check` turns a text into its value or raises ValueError."""

    def add(values: list[Any], text: str) -> list[Any]:
        return [*values, check(text) if check else text]

    return Kind(label, add, list, (zero,))


def _add_pair(values: dict[str, str], text: str) -> dict[str, str]:
    key, _, value = text.partition("=")
    return {**values, key: value}


_INT64 = (-(1 << 63), (1 << 63) - 1, "ParseInt")

BOOL = Kind("", lambda _, text: parse_bool(text), bool, ("false",))
STRING = Kind("string", lambda _, text: text, str)
INT = Kind("int", integer(*_INT64), int, ("0",))
INT64 = Kind("int", integer(*_INT64), int, ("0",))
UINT16 = Kind("uint16", integer(0, (1 << 16) - 1, "ParseUint"), int, ("0",))
UINT64 = Kind("uint", integer(0, (1 << 64) - 1, "ParseUint"), int, ("0",))
LIST = listed()
MAP = Kind("map", _add_pair, dict, ())
STRINGS = Kind("strings", lambda values, text: [*values, *text.split(",")], list, ("[]",))


class Flag:
    """One flag. `default` is its text in the help and, for a single value, what it stands for when not given.

    A name that begins with ``*`` is kept out of the help; `store` names the option when several flags fill it.
    `deprecated` is what to say when the flag is used.
    """

    __slots__ = ("default", "deprecated", "help", "hidden", "kind", "name", "short", "store")

    def __init__(
        self,
        name: str,
        short: str,
        kind: Kind,
        help: str,
        default: str = "",
        *,
        store: str = "",
        deprecated: str = "",
    ) -> None:
        self.hidden = name.startswith("*")
        self.name = name.lstrip("*")
        self.short = short
        self.kind = kind
        self.help = help
        self.default = default
        self.store = store or self.name.replace("-", "_")
        self.deprecated = deprecated

    @property
    def title(self) -> str:
        """The flag as an error names it."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"

    def initial(self) -> Any:
        """Return the value when the flag is not given."""
        if self.default and self.kind in (STRING, INT, INT64, BOOL):
            return self.kind.add(None, self.default)
        return self.kind.empty()


class Options:
    """The values of a command's flags, by name (dashes are underscores), and the names that were given."""

    def __init__(self, flags: Sequence[Flag]) -> None:
        self._values: dict[str, Any] = {}
        for flag in flags:  # of several flags that fill one option, the first says where it begins
            self._values.setdefault(flag.store, flag.initial())
        self._given: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(name) from None

    def set(self, flag: Flag, text: str) -> None:
        """Take `text` for a flag; raise `FlagError` when it does not fit."""
        try:
            self._values[flag.store] = flag.kind.add(self._values[flag.store], text)
        except ValueError as error:
            raise FlagError(f"invalid argument {go_quote(text)} for {go_quote(flag.title)} flag: {error}") from None
        self._given.add(flag.name)
        if flag.deprecated:
            sys.stdout.write(f"Flag --{flag.name} has been deprecated, {flag.deprecated}\n")

    def given(self, name: str) -> bool:
        """Say whether the flag `name` was on the command line."""
        return name in self._given

    @property
    def any_given(self) -> bool:
        """Whether any flag was on the command line."""
        return bool(self._given)


def parse_arguments(
    flags: Sequence[Flag], arguments: Sequence[str], *, interspersed: bool
) -> tuple[Options, list[str]]:
    """Split a command's words into its flags' values and its arguments; raise `FlagError` with docker's message.

    With `interspersed` flags may stand behind arguments, else the first argument ends them.
    """
    options = Options(flags)
    by_name = {flag.name: flag for flag in flags}
    by_short = {flag.short: flag for flag in flags if flag.short}
    rest = list(arguments)
    positional: list[str] = []
    while rest:
        word = rest.pop(0)
        if word == "--":
            return options, positional + rest
        if not word.startswith("-") or word == "-":
            positional.append(word)
            if not interspersed:
                return options, positional + rest
        elif word.startswith("--"):
            _long(options, by_name, word, rest)
        else:
            _short(options, by_short, word[1:], rest)
    return options, positional


def _long(options: Options, by_name: dict[str, Flag], word: str, rest: list[str]) -> None:
    name, separator, value = word[2:].partition("=")
    if not name or name.startswith("-"):
        raise FlagError(f"bad flag syntax: {word}")
    flag = by_name.get(name)
    if flag is None:
        raise FlagError(f"unknown flag: --{name}")
    if not separator:
        if flag.kind is BOOL:
            value = "true"
        elif rest:
            value = rest.pop(0)
        else:
            raise FlagError(f"flag needs an argument: {word}")
    options.set(flag, value)


def _short(options: Options, by_short: dict[str, Flag], letters: str, rest: list[str]) -> None:
    while letters:
        flag = by_short.get(letters[0])
        if flag is None:
            raise FlagError(f"unknown shorthand flag: '{letters[0]}' in -{letters}")
        if len(letters) > 2 and letters[1] == "=":
            options.set(flag, letters[2:])
            return
        if flag.kind is BOOL:
            options.set(flag, "true")
            letters = letters[1:]
            continue
        if len(letters) > 1:
            options.set(flag, letters[1:])
        elif rest:
            options.set(flag, rest.pop(0))
        else:
            raise FlagError(f"flag needs an argument: '{letters[0]}' in -{letters}")
        return
