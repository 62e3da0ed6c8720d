"""Commands on images: load, import, tag, rmi, history."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from orlop import errors
from orlop.cli.command import NONE, at_least, command, exactly
from orlop.cli.failure import CommandError, daemon_message
from orlop.cli.flags import BOOL, LIST, STRING, STRINGS, Flag, Options
from orlop.cli.humanize import ago, human_size, rfc3339
from orlop.cli.listing import FORMAT_HELP, Headings, Row, write_rows
from orlop.cli.output import ellipsis
from orlop.cli.progress import show_progress
from orlop.cli.rows import short_id
from orlop.cli.session import Session
from orlop.cli.terminal import is_terminal
from orlop.client import calls

__all__ = ["history", "import_", "load", "platform_json", "remove", "tag"]

_PIECE = 1 << 20


def platform_json(text: str) -> str:
    """Return a platform as API queries take it, ``{"os": …}``; empty stays empty."""
    if not text:
        return ""
    from orlop.formats.platform import parse

    try:
        platform = parse(text, machine=os.uname().machine)
    except errors.InvalidArgument as error:
        raise CommandError(f"invalid platform: {error}") from None
    fields = {"architecture": platform.architecture, "os": platform.os, "variant": platform.variant}
    return json.dumps({key: value for key, value in fields.items() if value}, separators=(",", ":"))


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


@command(
    "[OPTIONS]",
    NONE,
    flags=(
        Flag("input", "i", STRING, "Read from a file, not from STDIN"),
        Flag("platform", "", STRING, "Load only this platform (os[/arch[/variant]])"),
        Flag("quiet", "q", BOOL, "Do not show the progress"),
    ),
)
def load(session: Session, options: Options, arguments: list[str]) -> None:
    """Load images from a tar archive."""
    if not options.input and is_terminal(0):
        raise CommandError("requested load from stdin, but stdin is empty")
    quiet = options.quiet or not is_terminal(1)
    platform = platform_json(options.platform)
    with open(options.input or 0, "rb", buffering=0, closefd=bool(options.input)) as file:
        response = session.engine.open(calls.image_load(_pieces(file), quiet=quiet, platform=platform))
        # The answer may begin before the file is read to its end.
        if response.header("content-type").partition(";")[0] == "application/json":
            show_progress(response, 1)
            return
        sys.stdout.flush()
        for chunk in response.chunks():
            sys.stdout.buffer.write(chunk)


@command(
    "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    at_least(1),
    flags=(
        Flag("change", "c", LIST, "Apply a Dockerfile instruction to the image"),
        Flag("message", "m", STRING, "Comment of the image's history"),
        Flag("platform", "", STRING, "Platform of the image"),
    ),
)
def import_(session: Session, options: Options, arguments: list[str]) -> None:
    """Make an image of the files in a tar archive."""
    source = arguments[0]
    reference = arguments[1] if len(arguments) > 1 else ""
    if source.startswith(("http://", "https://")):
        _import(session, options, source, (), reference)
    elif source == "-":
        with open(0, "rb", buffering=0, closefd=False) as file:
            _import(session, options, "-", _pieces(file), reference)
    else:
        with open(source, "rb", buffering=0) as file:
            _import(session, options, "-", _pieces(file), reference)


def _import(session: Session, options: Options, source: str, body: Iterable[bytes], reference: str) -> None:
    if reference:
        from orlop.formats.reference import parse

        try:
            parse(reference)
        except errors.InvalidArgument as error:
            raise CommandError(error.message) from None
    call = calls.image_import(
        body,
        source=source,
        repo=reference,
        message=options.message,
        changes=options.change,
        platform=options.platform,
    )
    show_progress(session.engine.open(call), 1)


@command("SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", exactly(2), interspersed=False, complete="image")
def tag(session: Session, options: Options, arguments: list[str]) -> None:
    """Give an image another name."""
    from orlop.formats.reference import parse

    source, target = arguments
    try:
        parsed = parse(target)
    except errors.InvalidArgument as error:
        raise CommandError(f'Error parsing reference: "{target}" is not a valid repository/tag: {error}') from None
    if parsed.digest is not None:
        raise CommandError("refusing to create a tag with a digest reference")
    session.engine.do(calls.image_tag(source, repo=parsed.familiar_name, tag=parsed.tagged().tag))


@command(
    "[OPTIONS] IMAGE [IMAGE...]",
    at_least(1),
    flags=(
        Flag("force", "f", BOOL, "Remove it even when a stopped container uses it"),
        Flag("no-prune", "", BOOL, "Keep untagged parents"),
        Flag("platform", "", STRINGS, "Remove only this platform (os[/arch[/variant]])", "[]"),
    ),
    complete="image",
)
def remove(session: Session, options: Options, arguments: list[str]) -> None:
    """Remove names of images, and images that no name is left of."""
    platforms = [platform_json(text) for text in options.platform]
    failed: list[errors.Error] = []
    for name in arguments:
        call = calls.image_remove(name, force=options.force, no_prune=options.no_prune, platforms=platforms)
        try:
            removed = session.engine.do(call)
        except errors.Error as error:
            failed.append(error)
            continue
        for item in removed:
            session.print(f"Deleted: {item['Deleted']}" if item.get("Deleted") else f"Untagged: {item['Untagged']}")
    if not failed:
        return
    text = "\n".join(map(daemon_message, failed))
    if options.force and all(isinstance(error, errors.NotFound) for error in failed):
        session.warn(text)
        return
    raise CommandError(text)


_HISTORY_HEADINGS: Headings = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
_YEAR_2000 = 946_684_800  # an older date is a build's that wants to be repeatable, and says nothing


class HistoryRow(Row):
    """A step of an image's history."""

    headings = _HISTORY_HEADINGS

    def __init__(self, step: Mapping[str, Any], *, truncate: bool, human: bool) -> None:
        self._step = step
        self._truncate = truncate
        self._human = human

    def ID(self) -> str:
        identifier = str(self._step.get("Id", ""))
        return short_id(identifier) if self._truncate else identifier

    def CreatedAt(self) -> str:
        return rfc3339(self._step.get("Created", 0))

    def CreatedSince(self) -> str:
        if not self._human:
            return self.CreatedAt()
        created = self._step.get("Created", 0)
        return "N/A" if created <= _YEAR_2000 else ago(created)

    def CreatedBy(self) -> str:
        text = str(self._step.get("CreatedBy", "")).replace("\t", " ")
        return ellipsis(text, 45) if self._truncate else text

    def Size(self) -> str:
        size = self._step.get("Size", 0)
        return human_size(size, 3) if self._human else str(size)

    def Comment(self) -> str:
        return str(self._step.get("Comment", ""))


@command(
    "[OPTIONS] IMAGE",
    exactly(1),
    flags=(
        Flag("format", "", STRING, FORMAT_HELP),
        Flag("human", "H", BOOL, "Show sizes and times for people", "true"),
        Flag("no-trunc", "", BOOL, "Show everything in full"),
        Flag("platform", "", STRING, "Show the history of this platform (os[/arch[/variant]])"),
        Flag("quiet", "q", BOOL, "Show only IDs"),
    ),
    complete="image",
)
def history(session: Session, options: Options, arguments: list[str]) -> None:
    """Show how an image was made, the last step first."""
    found = session.engine.do(calls.image_history(arguments[0], platform=platform_json(options.platform)))
    format = options.format or "table"
    if format == "table":
        created = "CreatedSince" if options.human else "CreatedAt"
        table = f"table {{{{.ID}}}}\t{{{{.{created}}}}}\t{{{{.CreatedBy}}}}\t{{{{.Size}}}}\t{{{{.Comment}}}}"
        format = "{{.ID}}" if options.quiet else table
    rows = [HistoryRow(step, truncate=not options.no_trunc, human=options.human) for step in found]
    write_rows(rows, _HISTORY_HEADINGS, format)
