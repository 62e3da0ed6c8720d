"""`orlopd`: read the command line and the configuration, then be a daemon."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from orlop import __version__
from orlop.daemon import config
from orlop.daemon.table import FLAGS
from orlop.errors import Error

__all__ = ["main"]

_ARENAS = 2  # threads that load layers would else leave an arena each behind, full of what is free


def main() -> None:
    """The program's entry point."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit status."""
    try:
        given = config.parse_command_line(arguments)
        if given.get("help"):
            print(_help())
            return 0
        if given.get("version"):
            print(f"Orlop version {__version__}")
            return 0
        settings = config.load(given)
    except Error as error:
        print(f"{error}\nSee 'orlopd --help'.", file=sys.stderr)
        return 1
    if given.get("validate"):
        print("configuration OK", file=sys.stderr)
        return 0
    if os.geteuid() != 0:
        print("orlopd needs to be started with root privileges.", file=sys.stderr)
        return 1
    os.umask(0o022)

    from orlop.daemon import daemon, log
    from orlop.linux import memory

    memory.limit_arenas(_ARENAS)
    log.configure(settings.log_level, settings.log_format)
    return daemon.run(settings, given)


def _help() -> str:
    lines = ["Usage:  orlopd [OPTIONS]", "", "The daemon of Orlop, a container platform.", "", "Options:"]
    for flag in sorted(FLAGS, key=lambda flag: flag.name):
        if flag.usage:
            kind = "" if flag.kind == "bool" else f" {flag.kind}"
            short = f"-{flag.short}, " if flag.short else "    "
            lines.append(f"  {short}--{flag.name + kind:<28} {flag.usage}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
