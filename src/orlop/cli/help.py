"""The texts behind ``--help``, laid out as docker lays them out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from orlop.cli.command import PROGRAM, Command
from orlop.cli.flags import STRING, Flag
from orlop.cli.tree import COMMON, GROUPS, Entry, Tree

__all__ = ["command_help", "flag_table", "group_help", "root_help"]


def root_help(tree: Tree, flags: Sequence[Flag]) -> str:
    """Return the text of `orlop --help`."""
    members = dict(tree.members(()))
    common = [(name, members[name].help) for name in COMMON]
    others = [(name, entry.help) for name, entry in members.items() if name not in COMMON]
    return (
        f"Usage:  {PROGRAM} [OPTIONS] COMMAND\n\nContainers in Python, with Docker's commands and API\n\n"
        f"Common Commands:\n{_names(common)}\nManagement Commands:\n{_names(GROUPS.items())}\n"
        f"Commands:\n{_names(others)}\nGlobal Options:\n{flag_table(flags)}\n"
        f"Run '{PROGRAM} COMMAND --help' for more information on a command.\n"
    )


def group_help(tree: Tree, path: tuple[str, ...]) -> str:
    """Return the text of `orlop GROUP --help`."""
    name = " ".join((PROGRAM, *path))
    members = [(member, entry.help) for member, entry in tree.members(path)]
    return (
        f"Usage:  {name} COMMAND\n\n{GROUPS[path[0]]}\n\nCommands:\n{_names(members)}\n"
        f"Run '{name} COMMAND --help' for more information on a command.\n"
    )


def command_help(entry: Entry, command: Command, usage: str) -> str:
    """Return the text of a command's ``--help``."""
    text = f"Usage:  {usage}\n\n{command.long or entry.help}\n"
    if len(entry.paths) > 1:
        text += f"\nAliases:\n  {', '.join(' '.join((PROGRAM, *path)) for path in entry.paths)}\n"
    if table := flag_table(command.flags):
        text += f"\nOptions:\n{table}"
    return text


def _names(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f"  {name:<11} {help}\n" for name, help in pairs)


def flag_table(flags: Sequence[Flag]) -> str:
    """Return the table of a command's flags, wrapped to the terminal's width."""
    rows = [(_left(flag), _right(flag)) for flag in sorted(flags, key=lambda flag: flag.name) if not flag.hidden]
    if not rows:
        return ""
    column = max(len(left) for left, _ in rows) + 3
    width = _terminal_width() - 1
    return "".join(f"{left:<{column}}{_wrap(right, column, width)}\n" for left, right in rows)


def _left(flag: Flag) -> str:
    short = f"  -{flag.short}, " if flag.short else "      "
    return f"{short}--{flag.name} {flag.kind.label}".rstrip()


def _right(flag: Flag) -> str:
    if not flag.default or flag.default in flag.kind.zero:
        return flag.help
    shown = f'"{flag.default}"' if flag.kind is STRING else flag.default
    return f"{flag.help} (default {shown})"


def _terminal_width() -> int:
    try:
        return os.get_terminal_size(0).columns or 80
    except OSError:
        return 80


def _wrap(text: str, indent: int, width: int) -> str:
    if width - indent < 24:
        return text
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            if line and len(line) + 1 + len(word) > width - indent:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        lines.append(line)
    return ("\n" + " " * indent).join(lines)
