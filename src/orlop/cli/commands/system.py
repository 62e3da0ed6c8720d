"""`orlop events`, `orlop system df` and the program behind ``ssh://``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from orlop.cli.command import command
from orlop.cli.commands.logs import timestamp
from orlop.cli.failure import CommandError
from orlop.cli.flags import BOOL, STRING, Flag, Options
from orlop.cli.humanize import rfc3339
from orlop.cli.kinds import FILTER
from orlop.cli.session import Session
from orlop.client import calls

__all__ = ["dial_stdio", "disk_usage", "events"]


@command(
    "[OPTIONS]",
    flags=(
        Flag("filter", "f", FILTER, "Show only what fits a condition (name=value)"),
        Flag("format", "", STRING, "How to print: 'json' or a Go template"),
        Flag("since", "", STRING, "Begin at a time or a time ago"),
        Flag("until", "", STRING, "End at a time or a time ago"),
    ),
)
def events(session: Session, options: Options, arguments: list[str]) -> None:
    """Print what happens, an event a line, until the client is stopped."""
    render: Callable[[dict[str, Any]], str] = _event_text
    if options.format:
        from orlop.cli.document import renderer

        try:
            render = renderer("{{json .}}" if options.format == "json" else options.format)
        except CommandError as error:
            message = error.message.removeprefix("template parsing error: ")
            raise CommandError(f"Error parsing format: {message}", 64) from None
    call = calls.events(since=timestamp(options.since), until=timestamp(options.until), filters=options.filter)
    for event in session.engine.json_lines(call):
        sys.stdout.write(render(event) + "\n")
        sys.stdout.flush()


def _event_text(event: dict[str, Any]) -> str:
    actor = event.get("Actor") or {}
    text = f"{event.get('Type', '')} {event.get('Action', '')} {actor.get('ID', '')}"
    if attributes := actor.get("Attributes"):
        text += " (" + ", ".join(f"{key}={attributes[key]}" for key in sorted(attributes)) + ")"
    if nanoseconds := event.get("timeNano"):
        return f"{rfc3339(*divmod(nanoseconds, 1_000_000_000))} {text}"
    return f"{rfc3339(event['time'], 0)} {text}" if event.get("time") else text


@command(
    "[OPTIONS]",
    flags=(
        Flag("format", "", STRING, "How to print: 'table' (default), 'json' or a Go template"),
        Flag("verbose", "v", BOOL, "Show each image, container and volume"),
    ),
)
def disk_usage(session: Session, options: Options, arguments: list[str]) -> None:
    """Show how much disk space images, containers and volumes take, and what could be had back."""
    from orlop.cli.usage import write_usage

    usage = session.engine.do(calls.disk_usage())
    write_usage(usage, options.format or "table", verbose=options.verbose)


@command("")
def dial_stdio(session: Session, options: Options, arguments: list[str]) -> None:
    """Carry bytes between the standard streams and the daemon's socket: the far end of an ``ssh://`` connection."""
    import select
    import socket

    from orlop.cli.joined import write_all
    from orlop.cli.session import dial

    stream = dial(session.endpoint)
    reading = True
    while True:
        poll = select.poll()
        poll.register(stream, select.POLLIN)
        if reading:
            poll.register(0, select.POLLIN)
        ready = dict(poll.poll())
        if 0 in ready:
            if data := os.read(0, 1 << 16):
                stream.sendall(data)
            else:
                reading = False
                stream.shutdown(socket.SHUT_WR)
        if stream.fileno() in ready:
            data = stream.recv(1 << 16)
            if not data:
                return
            write_all(1, data)
