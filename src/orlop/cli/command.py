"""What a command of the client is: its usage line, its flags, how many arguments it takes, the function that runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from orlop.cli.failure import CommandError
from orlop.cli.flags import BOOL, Flag, Options

if TYPE_CHECKING:
    from orlop.cli.session import Session

__all__ = ["HELP", "Arity", "Command", "at_least", "at_most", "between", "command", "exactly"]

PROGRAM = "orlop"
HELP = Flag("*help", "h", BOOL, "Print usage")

Run = Callable[["Session", Options, list[str]], "int | None"]


class Arity:
    """How many arguments a command takes; `most` is None for any number."""

    __slots__ = ("least", "most")

    def __init__(self, least: int, most: int | None) -> None:
        self.least = least
        self.most = most

    def check(self, path: str, usage: str, arguments: Sequence[str]) -> None:
        """Raise `CommandError` with docker's message when the number is wrong."""
        count = len(arguments)
        if count >= self.least and (self.most is None or count <= self.most):
            return
        raise CommandError(
            f"{PROGRAM}: '{path}' {self._rule()}\n\nUsage:  {usage}\n\n"
            f"{'See' if self.most is None else 'Run'} '{path} --help' for more information"
        )

    def _rule(self) -> str:
        if self.most == 0:
            return "accepts no arguments"
        if self.most is None:
            return f"requires at least {_count(self.least)}"
        if self.least == self.most:
            return f"requires {_count(self.least)}"
        if self.least == 0:
            return f"requires at most {_count(self.most)}"
        return f"requires at least {self.least} and at most {_count(self.most)}"


def _count(number: int) -> str:
    return f"{number} argument" if number == 1 else f"{number} arguments"


NONE = Arity(0, 0)


def at_least(number: int) -> Arity:
    return Arity(number, None)


def at_most(number: int) -> Arity:
    return Arity(0, number)


def between(least: int, most: int) -> Arity:
    return Arity(least, most)


def exactly(number: int) -> Arity:
    return Arity(number, number)


class Command:
    """One command. `usage` is what follows its name; `run` gets the session, the flags and the arguments.

    `complete` names what its arguments are, for shell completion: "container", "image", "kept", "network", "registry",
    "volume" or nothing.
    """

    __slots__ = ("arity", "complete", "flags", "interspersed", "long", "run", "usage")

    def __init__(
        self,
        usage: str,
        arity: Arity,
        flags: Sequence[Flag],
        run: Run,
        *,
        interspersed: bool = True,
        long: str = "",
        complete: str = "",
    ) -> None:
        taken = {flag.short for flag in flags}
        # A command may use -h for something else (run --hostname); --help is everywhere.
        help_flag = Flag("*help", "", BOOL, HELP.help) if "h" in taken else HELP
        self.usage = usage
        self.arity = arity
        self.flags = (*flags, *(() if any(flag.name == "help" for flag in flags) else (help_flag,)))
        self.run = run
        self.interspersed = interspersed
        self.long = long
        self.complete = complete


def command(
    usage: str,
    arity: Arity = NONE,
    flags: Sequence[Flag] = (),
    *,
    interspersed: bool = True,
    long: str = "",
    complete: str = "",
) -> Callable[[Run], Command]:
    """Make a command of the function below."""

    def wrap(run: Run) -> Command:
        return Command(usage, arity, flags, run, interspersed=interspersed, long=long, complete=complete)

    return wrap
