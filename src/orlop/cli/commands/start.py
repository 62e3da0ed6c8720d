"""`orlop start`."""

from __future__ import annotations

from orlop import errors
from orlop.cli.command import at_least, command
from orlop.cli.commands.attach import resize
from orlop.cli.failure import CommandError
from orlop.cli.flags import BOOL, STRING, Flag, Options
from orlop.cli.session import Session
from orlop.cli.terminal import is_terminal
from orlop.client import calls

__all__ = ["start"]


@command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    at_least(1),
    flags=(
        Flag("attach", "a", BOOL, "Show the output and pass signals on"),
        Flag("checkpoint", "", STRING, "Restore from this checkpoint"),
        Flag("checkpoint-dir", "", STRING, "Directory of the checkpoint"),
        Flag("detach-keys", "", STRING, "Keys that leave the container running"),
        Flag("interactive", "i", BOOL, "Pass standard input on"),
    ),
    complete="container",
)
def start(session: Session, options: Options, arguments: list[str]) -> int:
    """Start containers, or one of them joined with the terminal."""
    if options.attach or options.interactive:
        if len(arguments) > 1:
            raise CommandError("you cannot start and attach multiple containers at once")
        return _start_joined(session, options, arguments[0])
    if options.checkpoint and len(arguments) > 1:
        raise CommandError("you cannot restore multiple containers at once")
    failed = []
    for name in arguments:
        try:
            session.engine.do(
                calls.container_start(name, checkpoint=options.checkpoint, directory=options.checkpoint_dir)
            )
        except errors.Error as error:
            session.report(error)
            failed.append(name)
        else:
            session.print(name)
    if failed:
        raise CommandError(f"Error: failed to start containers: {', '.join(failed)}")
    return 0


def _start_joined(session: Session, options: Options, name: str) -> int:
    from orlop.cli.commands.create import kill_quietly, open_wait
    from orlop.cli.joined import Joined
    from orlop.cli.signals import SignalRelay

    engine = session.engine
    container = engine.do(calls.container_inspect(name))
    identifier = container["Id"]
    tty = bool(container["Config"]["Tty"])
    stdin = options.interactive and bool(container["Config"]["OpenStdin"])
    removed = bool(container["HostConfig"]["AutoRemove"])
    detach_keys = options.detach_keys or session.config.text("detachKeys")
    with SignalRelay(everything=not tty) as relay:
        stream = session.connect().hijack(
            calls.container_attach(identifier, stdin=stdin, stdout=True, stderr=True, detach_keys=detach_keys)
        )
        joined = Joined(
            stream,
            relay,
            tty=tty,
            stdin=stdin,
            output=True,
            detach_keys=detach_keys,
            wait=lambda again: open_wait(session, identifier, removed=removed, again=again),
            on_signal=None if tty else (lambda signal: kill_quietly(engine, identifier, signal)),
            resize=(lambda: resize(engine, identifier)) if tty and is_terminal(1) else None,
        )
        try:
            engine.do(
                calls.container_start(identifier, checkpoint=options.checkpoint, directory=options.checkpoint_dir)
            )
        except errors.Error:
            stream.close()
            if removed:
                joined.wait_removed()
            raise
        joined.run()
        return 0 if joined.detached else joined.wait_status()
