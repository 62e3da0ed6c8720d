"""Commands that show one thing of a container: its processes, its ports, what it changed."""

from __future__ import annotations

import re
import sys

from orlop.cli.command import at_least, between, command, exactly
from orlop.cli.failure import CommandError
from orlop.cli.flags import Options
from orlop.cli.output import tabulate
from orlop.cli.rows import join_host_port
from orlop.cli.session import Session
from orlop.client import calls

__all__ = ["diff", "natural", "port", "top"]

_KINDS = {0: "C", 1: "A", 2: "D"}


@command("CONTAINER [ps OPTIONS]", at_least(1), interspersed=False, complete="container")
def top(session: Session, options: Options, arguments: list[str]) -> None:
    """Show the processes of a container."""
    answer = session.engine.do(calls.container_top(arguments[0], arguments[1:]))
    rows = [answer["Titles"], *(answer["Processes"] or ())]
    sys.stdout.write(tabulate("".join("\t".join(row) + "\n" for row in rows), minimum=20))


@command("CONTAINER", exactly(1), complete="container")
def diff(session: Session, options: Options, arguments: list[str]) -> None:
    """Show the files that a container has changed (C), added (A) or deleted (D)."""
    if not arguments[0]:
        raise CommandError("Container name cannot be empty")
    for change in session.engine.do(calls.container_changes(arguments[0])) or ():
        session.print(f"{_KINDS.get(change['Kind'], '')} {change['Path']}")


def natural(text: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts "b10" behind "b9"."""
    return [
        (not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", text) if part
    ]


@command("CONTAINER [PRIVATE_PORT[/PROTO]]", between(1, 2), complete="container")
def port(session: Session, options: Options, arguments: list[str]) -> None:
    """Show where the ports of a container are published."""
    container = session.engine.do(calls.container_inspect(arguments[0]))
    ports = container["NetworkSettings"].get("Ports") or {}
    if len(arguments) > 1 and arguments[1]:
        lines = _one_port(ports, arguments[0], arguments[1])
    else:
        lines = [f"{name} -> {target}" for name, targets in ports.items() for target in map(_target, targets or ())]
    for line in sorted(lines, key=natural):
        session.print(line)


def _target(binding: dict[str, str]) -> str:
    return join_host_port(binding["HostIp"], binding["HostPort"])


def _one_port(ports: dict[str, list[dict[str, str]] | None], name: str, wanted: str) -> list[str]:
    number, _, protocol = wanted.partition("/")
    if not (number.isascii() and number.isdecimal()):
        reason = f'strconv.ParseUint: parsing "{number}": invalid syntax'
        raise CommandError(f"Error: invalid port ({number}): {reason}")
    found = ports.get(f"{number}/{protocol or 'tcp'}")
    if not found:
        raise CommandError(f"Error: No public port '{wanted}' published for {name}")
    return [_target(binding) for binding in found]
