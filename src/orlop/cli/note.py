"""Notes beside a command's output, as docker sets them off."""

from __future__ import annotations

import sys

from orlop.cli.terminal import is_terminal

__all__ = ["write_note"]

_PLAIN = " Info -> "
_FANCY = "\033[1m\033[106m\033[30mi\033[0m\033[0m \033[96mInfo → \033[0m\033[0m"
_BOLD = ("--platform",)


def write_note(text: str, descriptor: int) -> None:
    """Print a note to standard output (1) or error (2)."""
    stream = sys.stdout if descriptor == 1 else sys.stderr
    if descriptor == 2:
        sys.stdout.flush()
    fancy = is_terminal(descriptor)
    lines = text.split("\n")
    if fancy:
        for word in _BOLD:
            lines = [line.replace(word, f"\033[1m{word}\033[0m") for line in lines]
        lines = [f"\033[3m{line}\033[0m" for line in lines]
    header = _FANCY if fancy else _PLAIN
    indent = " " * len(_PLAIN)
    stream.write(f"\n{header}" + f"\n{indent}".join(lines) + "\n")
