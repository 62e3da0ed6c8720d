"""The `orlop` command: global flags, the way to a command, and what becomes of its errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from orlop import __version__
from orlop.cli.command import HELP, PROGRAM, Command
from orlop.cli.failure import CommandError, FlagError, daemon_message
from orlop.cli.flags import BOOL, LIST, STRING, Flag, Options, parse_arguments
from orlop.cli.session import Session
from orlop.cli.tree import GROUPS, Tree
from orlop.client.config import config_directory
from orlop.client.endpoint import DEFAULT_CONTEXT, Selection
from orlop.errors import Error

__all__ = ["GLOBAL_FLAGS", "main", "run"]

# As docker's client takes them.
_LOG_LEVELS = ("trace", "debug", "info", "warn", "warning", "error", "fatal", "panic")

GLOBAL_FLAGS = (
    Flag("config", "", STRING, "Directory of the client's configuration"),
    Flag("context", "c", STRING, "Context that names the daemon (instead of DOCKER_HOST and the current context)"),
    Flag("debug", "D", BOOL, "Debug mode of docker's client; kept for its scripts"),
    Flag("host", "H", LIST, "Address of the daemon: unix://, tcp:// or ssh://"),
    Flag("log-level", "l", STRING, 'Level of messages ("debug", "info", "warn", "error", "fatal")', "info"),
    Flag("tls", "", BOOL, "Use TLS; --tlsverify implies it"),
    Flag("tlscacert", "", STRING, "Trust only certificates of this CA"),
    Flag("tlscert", "", STRING, "TLS certificate of this client"),
    Flag("tlskey", "", STRING, "Key of the TLS certificate"),
    Flag("tlsverify", "", BOOL, "Use TLS and verify the daemon"),
    Flag("version", "v", BOOL, "Print the version and quit"),
    HELP,
)


def main() -> None:
    """Entry point of the `orlop` program."""
    status = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_output()
        status = status or 141
    sys.exit(status)


def _abandon_output() -> None:
    """Let standard output go nowhere: its reader has left, and the interpreter must not complain when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status; everything that goes wrong is printed."""
    try:
        return _run(arguments)
    except CommandError as error:
        if error.message:
            _complain(error.message)
        return error.status
    except Error as error:
        _complain(daemon_message(error))
        return 1
    except BrokenPipeError:
        return 141
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        _complain(_os_error(error))
        return 1


def _complain(message: str) -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon_output()
    sys.stderr.write(message + "\n")


def _os_error(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"open {error.filename}: {reason}" if error.filename is not None else reason


def _run(arguments: Sequence[str]) -> int:
    try:
        options, rest = parse_arguments(GLOBAL_FLAGS, arguments, interspersed=False)
    except FlagError as error:
        raise _usage_error(error, PROGRAM, f"{PROGRAM} [OPTIONS] COMMAND [ARG...]") from None
    if options.log_level not in _LOG_LEVELS:
        raise CommandError(f"Unable to parse logging level: {options.log_level}")
    tree = Tree()
    if options.version:
        print(f"Orlop version {__version__}")
        return 0
    if options.help or not rest:
        return _show_group(tree, (), sys.stdout if options.help else sys.stderr)
    if rest[0] == "help":
        return _dispatch(tree, options, [*rest[1:], "--help"])
    return _dispatch(tree, options, rest)


def _dispatch(tree: Tree, options: Options, words: list[str]) -> int:
    path: tuple[str, ...] = ()
    if words and words[0] in GROUPS:
        path, words = (words[0],), words[1:]
        if not words or words[0] in ("--help", "-h"):
            return _show_group(tree, path, sys.stdout if words else sys.stderr)
    if words and words[0] == "--help":
        return _show_group(tree, path, sys.stdout)
    path = (*path, words[0]) if words else path
    entry = tree.by_path.get(path)
    if entry is None:
        raise _unknown_command(path, options)
    command = entry.load()
    assert isinstance(command, Command)
    name = " ".join((PROGRAM, *entry.canonical(path)))
    usage = f"{name} {command.usage}".rstrip()
    try:
        flags, positional = parse_arguments(command.flags, words[1:], interspersed=command.interspersed)
    except FlagError as error:
        raise _usage_error(error, name, usage) from None
    if flags.help:
        from orlop.cli.help import command_help

        sys.stdout.write(command_help(entry, command, usage))
        return 0
    command.arity.check(name, usage, positional)
    return command.run(_session(options), flags, positional) or 0


def _session(options: Options) -> Session:
    if len(options.host) > 1:
        raise CommandError("Specify only one -H")
    selection = Selection(
        host=options.host[0] if options.host else "",
        context=options.context,
        tls=options.tls,
        tls_verify=options.tlsverify,
        ca=options.tlscacert,
        certificate=options.tlscert,
        key=options.tlskey,
    )
    return Session(selection, options.config or config_directory(os.environ), debug=options.debug)


def _usage_error(error: FlagError, name: str, usage: str) -> CommandError:
    return CommandError(f"{error}\n\nUsage:  {usage}\n\nRun '{name} --help' for more information", 125)


def _unknown_command(path: tuple[str, ...], options: Options) -> CommandError:
    from orlop.cli.absent import absent_command

    if absent := absent_command(path, _environment(options)):
        return CommandError(absent)
    text = f"{PROGRAM}: unknown command: {' '.join((PROGRAM, *path))}\n\n"
    group = " ".join((PROGRAM, *path[:-1]))
    if len(path) > 1:
        text += f"Usage:  {group}\n\n"
    return CommandError(f"{text}Run '{group} --help' for more information")


def _environment(options: Options) -> dict[str, str]:
    """Return the variables with which docker's command reaches the daemon of this command line."""
    try:
        endpoint = _session(options).endpoint
    except (CommandError, Error):
        return {}
    if endpoint.context != DEFAULT_CONTEXT:
        return {"DOCKER_CONTEXT": endpoint.context}
    return {"DOCKER_HOST": endpoint.host}


def _show_group(tree: Tree, path: tuple[str, ...], stream: TextIO) -> int:
    from orlop.cli.help import group_help, root_help

    text = group_help(tree, path) if path else root_help(tree, GLOBAL_FLAGS)
    stream.write(text)
    return 0


if __name__ == "__main__":
    main()
