"""`orlop registry serve` and `orlop registry gc`: another program's commands, which take this process's place."""

from __future__ import annotations

import os
import sys

from orlop.cli.command import at_least, command
from orlop.cli.failure import CommandError
from orlop.cli.flags import Options
from orlop.cli.session import Session

__all__ = ["collect", "serve"]

_PROGRAM = "orlop-registry"


@command("[OPTIONS]", at_least(0), verbatim=True)
def serve(session: Session, options: Options, arguments: list[str]) -> None:
    """Serve a registry."""
    _execute("serve", arguments)


@command("[OPTIONS]", at_least(0), verbatim=True)
def collect(session: Session, options: Options, arguments: list[str]) -> None:
    """Collect a registry's garbage."""
    _execute("gc", arguments)


def _execute(name: str, arguments: list[str]) -> None:
    path = os.path.join(os.path.dirname(sys.executable), _PROGRAM)
    sys.stdout.flush()
    try:
        os.execv(path, [_PROGRAM, name, *arguments])
    except FileNotFoundError:
        raise CommandError(f"{path} is missing: install Orlop again") from None
