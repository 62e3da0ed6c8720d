"""`orlop logs`."""

from __future__ import annotations

import sys

from orlop import errors
from orlop.cli.command import command, exactly
from orlop.cli.failure import CommandError
from orlop.cli.flags import BOOL, STRING, Flag, Options
from orlop.cli.joined import write_all
from orlop.cli.session import Session
from orlop.client import calls
from orlop.formats.stream import STDERR, FrameError, Parser

__all__ = ["logs"]


@command(
    "[OPTIONS] CONTAINER",
    exactly(1),
    flags=(
        Flag("details", "", BOOL, "Show the attributes that the log driver keeps"),
        Flag("follow", "f", BOOL, "Go on with what comes"),
        Flag("since", "", STRING, "Begin at a time (2026-01-02T13:23:37Z) or a time ago (42m)"),
        Flag("tail", "n", STRING, "Begin with the last lines", "all"),
        Flag("timestamps", "t", BOOL, "Show the time of each line"),
        Flag("until", "", STRING, "End at a time or a time ago"),
    ),
    complete="container",
)
def logs(session: Session, options: Options, arguments: list[str]) -> None:
    """Print the output that a container has written, each stream to its own."""
    container = session.engine.do(calls.container_inspect(arguments[0]))
    response = session.engine.open(
        calls.container_logs(
            container["Id"],
            since=timestamp(options.since, 'invalid value for "since": '),
            until=timestamp(options.until, 'invalid value for "until": '),
            timestamps=options.timestamps,
            follow=options.follow,
            tail=options.tail,
            details=options.details,
        )
    )
    sys.stdout.flush()
    if container["Config"]["Tty"]:
        for chunk in response.chunks():
            write_all(1, chunk)
        return
    parser = Parser()
    try:
        for chunk in response.chunks():
            for number, piece in parser.feed(chunk):
                write_all(2 if number >= STDERR else 1, piece)
    except FrameError as error:
        raise CommandError(f"Unrecognized input header: {error}") from None


def timestamp(text: str, problem: str = "") -> str:
    """Return a time of the user's as the API takes it, ``seconds.nanoseconds``; empty stays empty.

    `problem` stands before the reason when the text is no time.
    """
    if not text:
        return ""
    import time

    from orlop.formats.duration import SECOND, parse_duration, parse_rfc3339, parse_unix

    try:
        if text != "0":
            return str((time.time_ns() - parse_duration(text)) // SECOND)
    except errors.InvalidArgument:
        pass  # a time, not a span
    try:
        if "-" in text:
            nanoseconds = parse_rfc3339(text)
            return f"{nanoseconds // SECOND}.{nanoseconds % SECOND:09d}"
        parse_unix(text)
    except errors.InvalidArgument as error:
        reason = str(error) if "-" in text else f'failed to parse value as time or duration: "{text}"'
        raise CommandError(f"{problem}{reason}") from None
    return text
