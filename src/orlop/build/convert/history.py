"""The words of an image's history, as BuildKit writes them (Go's ``%v`` and ``%q`` of what the instruction holds)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from orlop.build.graph import Json
from orlop.formats.duration import format_duration
from orlop.formats.template import go_quote

__all__ = ["BUILDKIT", "health", "listed", "quoted", "run"]

BUILDKIT = " # buildkit"
"""What follows the instructions that carry something out."""


_TIMES = ("Interval", "Timeout", "StartPeriod", "StartInterval")


def listed(words: Iterable[str]) -> str:
    """Return words as Go prints a slice: ``[a b]``."""
    return f"[{' '.join(words)}]"


def quoted(words: Iterable[str]) -> str:
    """Return words as Go prints a slice of quoted strings: ``["a" "b"]``."""
    return listed(map(go_quote, words))


def run(command: Sequence[str], arguments: Mapping[str, str]) -> str:
    """Return the entry of a RUN, with the build arguments that were declared above it: ``RUN |1 a=b sh -c x``."""
    declared = [f"|{len(arguments)}", *(f"{name}={value}" for name, value in arguments.items())] if arguments else []
    return "RUN " + " ".join([*declared, *command]) + BUILDKIT


def health(check: Json) -> str:
    """Return a health check as Go prints the struct."""
    times = " ".join(f"{name}:{format_duration(check.get(name, 0))}" for name in _TIMES)
    return f"HEALTHCHECK {{Test:{listed(check['Test'])} {times} Retries:{check.get('Retries', 0)}}}"
