"""`orlop save` and `orlop export`: images and file systems as tar archives."""

from __future__ import annotations

from orlop.cli.command import at_least, command, exactly
from orlop.cli.commands.image import platform_json
from orlop.cli.flags import STRING, Flag, Options
from orlop.cli.outfile import write_stream
from orlop.cli.session import Session
from orlop.client import calls

__all__ = ["export", "save"]

_OUTPUT = Flag("output", "o", STRING, "Write to a file, not to STDOUT")


@command(
    "[OPTIONS] IMAGE [IMAGE...]",
    at_least(1),
    flags=(_OUTPUT, Flag("platform", "", STRING, "Save only this platform (os[/arch[/variant]])")),
    complete="image",
)
def save(session: Session, options: Options, arguments: list[str]) -> None:
    """Write images to a tar archive."""
    call = calls.image_save(arguments, platform=platform_json(options.platform))
    write_stream(session.engine, call, options.output, "failed to save image")


@command("[OPTIONS] CONTAINER", exactly(1), flags=(_OUTPUT,), complete="container")
def export(session: Session, options: Options, arguments: list[str]) -> None:
    """Write a container's file system to a tar archive."""
    write_stream(session.engine, calls.container_export(arguments[0]), options.output, "failed to export container")
