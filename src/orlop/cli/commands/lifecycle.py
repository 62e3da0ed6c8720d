"""Commands that change the state of containers: stop, restart, kill, pause, unpause, rename, rm, wait."""

from __future__ import annotations

from collections.abc import Callable

from orlop import errors
from orlop.cli.command import at_least, command, exactly
from orlop.cli.failure import CommandError, daemon_message
from orlop.cli.flags import BOOL, INT, STRING, Flag, Options
from orlop.cli.session import Session
from orlop.client import calls
from orlop.client.call import Call

__all__ = ["kill", "pause", "remove", "rename", "restart", "stop", "unpause", "wait"]

_SIGNAL = Flag("signal", "s", STRING, "Signal to send")
_TIMEOUT = (
    Flag("timeout", "t", INT, "Seconds to wait before the container is killed"),
    Flag("*time", "", INT, "Seconds to wait", store="timeout", deprecated="use --timeout instead"),
)
_CONTAINERS = "CONTAINER [CONTAINER...]"


def for_each(session: Session, names: list[str], call: Callable[[str], Call[None]]) -> None:
    """Make a call for each container, side by side; print the names of those that succeeded, then all errors."""
    failed: list[str] = []
    outcomes = session.engine.each([call(name) for name in names])
    for name, outcome in zip(names, outcomes, strict=True):
        if isinstance(outcome, errors.Error):
            failed.append(daemon_message(outcome))
        else:
            session.print(name)
    if failed:
        raise CommandError("\n".join(failed))


def _timeout(options: Options) -> int | None:
    if options.given("time") and options.given("timeout"):
        raise CommandError("conflicting options: cannot specify both --timeout and --time")
    return int(options.timeout) if options.given("time") or options.given("timeout") else None


@command(f"[OPTIONS] {_CONTAINERS}", at_least(1), flags=(_SIGNAL, *_TIMEOUT), complete="container")
def stop(session: Session, options: Options, arguments: list[str]) -> None:
    """Stop containers."""
    timeout = _timeout(options)
    for_each(session, arguments, lambda name: calls.container_stop(name, signal=options.signal, timeout=timeout))


@command(f"[OPTIONS] {_CONTAINERS}", at_least(1), flags=(_SIGNAL, *_TIMEOUT), complete="container")
def restart(session: Session, options: Options, arguments: list[str]) -> None:
    """Stop containers and start them again."""
    timeout = _timeout(options)
    for_each(session, arguments, lambda name: calls.container_restart(name, signal=options.signal, timeout=timeout))


@command(f"[OPTIONS] {_CONTAINERS}", at_least(1), flags=(_SIGNAL,), complete="container")
def kill(session: Session, options: Options, arguments: list[str]) -> None:
    """Send a signal, SIGKILL unless told otherwise."""
    for_each(session, arguments, lambda name: calls.container_kill(name, signal=options.signal))


@command(_CONTAINERS, at_least(1), complete="container")
def pause(session: Session, options: Options, arguments: list[str]) -> None:
    """Freeze containers."""
    for_each(session, arguments, calls.container_pause)


@command(_CONTAINERS, at_least(1), complete="container")
def unpause(session: Session, options: Options, arguments: list[str]) -> None:
    """Thaw containers."""
    for_each(session, arguments, calls.container_unpause)


@command("CONTAINER NEW_NAME", exactly(2), complete="container")
def rename(session: Session, options: Options, arguments: list[str]) -> None:
    """Rename a container."""
    old, new = (name.strip() for name in arguments)
    if not old or not new:
        raise CommandError("Error: Neither old nor new names may be empty")
    try:
        session.engine.do(calls.container_rename(old, new))
    except errors.Error as error:
        session.report(error)
        raise CommandError(f"Error: failed to rename container named {old}") from None


@command(
    f"[OPTIONS] {_CONTAINERS}",
    at_least(1),
    flags=(
        Flag("force", "f", BOOL, "Kill a running container first"),
        Flag("link", "l", BOOL, "Remove the link of that name"),
        Flag("volumes", "v", BOOL, "Remove the container's anonymous volumes too"),
    ),
    complete="container",
)
def remove(session: Session, options: Options, arguments: list[str]) -> None:
    """Remove containers."""
    names = [name.strip("/") for name in arguments]
    if "" in names:
        raise CommandError("container name cannot be empty")
    outcomes = session.engine.each(
        [
            calls.container_remove(name, volumes=options.volumes, link=options.link, force=options.force)
            for name in names
        ]
    )
    failed: list[str] = []
    for name, outcome in zip(arguments, outcomes, strict=True):
        if not isinstance(outcome, errors.Error):
            session.print(name)
        elif options.force and isinstance(outcome, errors.NotFound):
            session.report(outcome)
        else:
            failed.append(daemon_message(outcome))
    if failed:
        raise CommandError("\n".join(failed))


@command(_CONTAINERS, at_least(1), complete="container")
def wait(session: Session, options: Options, arguments: list[str]) -> None:
    """Print the exit status of each container when it has stopped."""
    failed: list[str] = []
    for name in arguments:
        try:
            session.print(str(session.engine.do(calls.container_wait(name))["StatusCode"]))
        except errors.Error as error:
            failed.append(daemon_message(error))
    if failed:
        raise CommandError("\n".join(failed))
