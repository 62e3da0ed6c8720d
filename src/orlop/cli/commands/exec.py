"""`orlop exec`."""

from __future__ import annotations

from typing import Any

from orlop.cli.command import at_least, command
from orlop.cli.create.files import read_pairs
from orlop.cli.create.values import environment
from orlop.cli.failure import CommandError
from orlop.cli.flags import BOOL, LIST, STRING, Flag, Options, listed
from orlop.cli.session import Session
from orlop.cli.terminal import check_input, is_terminal, terminal_size
from orlop.client import calls

__all__ = ["exec"]


@command(
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    at_least(2),
    flags=(
        Flag("detach", "d", BOOL, "Run in the background"),
        Flag("detach-keys", "", STRING, "Keys that leave the command running"),
        Flag("env", "e", listed(environment), "Set an environment variable"),
        Flag("env-file", "", LIST, "Read environment variables from a file"),
        Flag("interactive", "i", BOOL, "Keep STDIN open"),
        Flag("privileged", "", BOOL, "Give the command all privileges"),
        Flag("tty", "t", BOOL, "Give the command a terminal"),
        Flag("user", "u", STRING, "User, by name or number (user[:group])"),
        Flag("workdir", "w", STRING, "Working directory in the container"),
    ),
    interspersed=False,
    complete="container",
)
def exec(session: Session, options: Options, arguments: list[str]) -> int:
    """Run a command in a running container; the exit status is the command's."""
    body = _body(session, options, arguments[1:])
    engine = session.engine
    engine.do(calls.container_inspect(arguments[0]))  # whether it exists matters more than what the input is
    if not options.detach:
        check_input(attach=options.interactive, tty=options.tty)
    identifier = engine.do(calls.exec_create(arguments[0], body))
    start: dict[str, Any] = {"Detach": options.detach, "Tty": options.tty}
    if options.tty:
        start["ConsoleSize"] = list(terminal_size(1))
    if options.detach:
        engine.do(calls.exec_start(identifier, start))
        return 0
    return _join(session, options, identifier, start)


def _body(session: Session, options: Options, command: list[str]) -> dict[str, Any]:
    variables: list[str] = []
    try:
        for path in options.env_file:
            variables += read_pairs(path, from_environment=True)
    except ValueError as error:
        raise CommandError(str(error)) from None
    body: dict[str, Any] = {
        "User": options.user,
        "Privileged": options.privileged,
        "Tty": options.tty,
        "AttachStdin": options.interactive and not options.detach,
        "AttachStdout": not options.detach,
        "AttachStderr": not options.detach,
        "DetachKeys": options.detach_keys or session.config.text("detachKeys"),
        "Env": [*variables, *options.env] or None,
        "WorkingDir": options.workdir,
        "Cmd": command,
    }
    if options.tty:
        body["ConsoleSize"] = list(terminal_size(1))
    return body


def _join(session: Session, options: Options, identifier: str, start: dict[str, Any]) -> int:
    from orlop.cli.joined import DETACHED, Joined, patiently
    from orlop.cli.signals import SignalRelay

    engine = session.engine

    def resize() -> None:
        height, width = terminal_size(1)
        if height or width:
            engine.do(calls.exec_resize(identifier, height=height, width=width))

    with SignalRelay(everything=False) as relay:
        joined = Joined(
            session.connect().hijack(calls.exec_start(identifier, start)),
            relay,
            tty=options.tty,
            stdin=options.interactive,
            output=True,
            detach_keys=options.detach_keys or session.config.text("detachKeys"),
            resize=resize if options.tty and is_terminal(0) else None,
        )
        joined.run()
    if joined.detached:
        raise CommandError(DETACHED)
    return int(patiently(lambda: engine.do(calls.exec_inspect(identifier))).get("ExitCode") or 0)
