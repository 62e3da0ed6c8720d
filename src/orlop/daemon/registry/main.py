"""`orlop-registry`: serve a registry, or collect its garbage."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from orlop import __version__
from orlop.daemon import flags
from orlop.daemon.flags import Flag
from orlop.daemon.registry.settings import COMMANDS, Serving, collection, help_text, serving
from orlop.errors import Error, InvalidArgument

__all__ = ["main"]

_STANDALONE = (Flag("help", "bool", "Print usage and quit", "h"), Flag("version", "bool", "Print version and quit"))


def main() -> None:
    """The program's entry point."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit status."""
    command = arguments[0] if arguments and arguments[0] in COMMANDS else ""
    try:
        if not command:
            return _without_command(arguments)
        values, words = flags.parse(arguments[1:], (*COMMANDS[command].flags, _STANDALONE[0]))
        if words:
            raise InvalidArgument(f'"orlop-registry {command}" accepts no arguments')
        if values.get("help"):
            print(help_text(command))
            return 0
        os.umask(0o077)
        return _serve(serving(values)) if command == "serve" else _collect(values)
    except Error as error:
        print(f"orlop-registry: {error}", file=sys.stderr)
        if isinstance(error, InvalidArgument):
            print(f"See 'orlop-registry {f'{command} ' if command else ''}--help'.", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"orlop-registry: {error.strerror}: {error.filename}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _without_command(arguments: Sequence[str]) -> int:
    values, words = flags.parse(arguments, _STANDALONE)
    if values.get("version"):
        print(f"Orlop version {__version__}")
        return 0
    if words:
        raise InvalidArgument(f"unknown command: {words[0]}")
    print(help_text())
    return 0 if values.get("help") else 1


def _serve(settings: Serving) -> int:
    from orlop.daemon import log
    from orlop.daemon.registry.serve import serve

    log.configure(settings.log_level, settings.log_format)
    return serve(settings)


def _collect(values: Mapping[str, Any]) -> int:
    from orlop.daemon.registry.control import collect, describe

    root, how = collection(values)
    print(describe(collect(root, how), how))
    return 0


if __name__ == "__main__":
    main()
