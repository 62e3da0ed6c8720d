"""`orlop attach`."""

from __future__ import annotations

from typing import Any

from orlop import errors
from orlop.cli.command import command, exactly
from orlop.cli.failure import CommandError
from orlop.cli.flags import BOOL, STRING, Flag, Options
from orlop.cli.session import Session
from orlop.cli.terminal import check_input, is_terminal, terminal_size
from orlop.client import calls
from orlop.client.engine import Engine

__all__ = ["attach"]


@command(
    "[OPTIONS] CONTAINER",
    exactly(1),
    flags=(
        Flag("detach-keys", "", STRING, "Keys that leave the container running"),
        Flag("no-stdin", "", BOOL, "Do not pass standard input on"),
        Flag("sig-proxy", "", BOOL, "Pass signals on to the process", "true"),
    ),
    complete="container",
)
def attach(session: Session, options: Options, arguments: list[str]) -> int:
    """Join the terminal with a running container."""
    from orlop.cli.commands.create import kill_quietly, open_wait
    from orlop.cli.joined import DETACHED, Joined
    from orlop.cli.signals import SignalRelay

    name = arguments[0]
    engine = session.engine
    container = _running(engine, name)
    tty = bool(container["Config"]["Tty"])
    check_input(attach=not options.no_stdin, tty=tty)
    stdin = not options.no_stdin and bool(container["Config"]["OpenStdin"])
    detach_keys = options.detach_keys or session.config.text("detachKeys")
    proxy = options.sig_proxy and not tty
    with SignalRelay(everything=proxy) as relay:
        waiting = open_wait(session, name, removed=False, again=True)
        stream = session.connect().hijack(
            calls.container_attach(name, stdin=stdin, stdout=True, stderr=True, detach_keys=detach_keys)
        )
        _running(engine, name)  # it may have ended before the connection stood
        sizes = tty and is_terminal(1)
        if sizes:
            # A program draws its screen anew when the size changes, so the size is changed: to another and back.
            height, width = terminal_size(1)
            _resize_quietly(engine, name, height + 1, width + 1)
        joined = Joined(
            stream,
            relay,
            tty=tty,
            stdin=stdin,
            output=True,
            detach_keys=detach_keys,
            wait=lambda again: open_wait(session, name, removed=False, again=True) if again else waiting,
            on_signal=(lambda signal: kill_quietly(engine, name, signal)) if proxy else None,
            resize=(lambda: resize(engine, name)) if sizes else None,
        )
        joined.run()
        if joined.detached:
            raise CommandError(DETACHED)
        return joined.wait_status()


def _running(engine: Engine, name: str) -> dict[str, Any]:
    container = engine.do(calls.container_inspect(name))
    state = container["State"]
    for is_so, problem in (
        (not state["Running"], "a stopped container, start it first"),
        (state["Paused"], "a paused container, unpause it first"),
        (state["Restarting"], "a restarting container, wait until it is running"),
    ):
        if is_so:
            raise CommandError(f"You cannot attach to {problem}")
    return container


def resize(engine: Engine, name: str) -> None:
    """Tell the daemon the terminal's size."""
    height, width = terminal_size(1)
    if height or width:
        engine.do(calls.container_resize(name, height=height, width=width))


def _resize_quietly(engine: Engine, name: str, height: int, width: int) -> None:
    try:
        engine.do(calls.container_resize(name, height=height, width=width))
    except errors.Error:  # the next one tells
        pass
