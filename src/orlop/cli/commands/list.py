"""`orlop ps` and `orlop images`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from orlop.cli.command import at_most, command
from orlop.cli.failure import CommandError
from orlop.cli.flags import BOOL, INT, STRING, Flag, Options
from orlop.cli.kinds import FILTER
from orlop.cli.listing import FORMAT_HELP, write_rows
from orlop.cli.rows import CONTAINER_HEADINGS, IMAGE_HEADINGS, ContainerRow, ImageRow, image_rows
from orlop.cli.session import Session
from orlop.client import calls

__all__ = ["containers", "images"]

_CONTAINERS = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
_CONTAINERS_RAW = """container_id: {{.ID}}
image: {{.Image}}
command: {{.Command}}
created_at: {{.CreatedAt}}
state: {{- pad .State 1 0}}
status: {{- pad .Status 1 0}}
names: {{.Names}}
labels: {{- pad .Labels 1 0}}
ports: {{- pad .Ports 1 0}}
"""
_IMAGES = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
_IMAGES_DIGESTS = "table {{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
_IMAGES_RAW = "repository: {{ .Repository }}\ntag: {{.Tag}}\n"
_IMAGES_RAW_END = "image_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n"


@command(
    "[OPTIONS]",
    flags=(
        Flag("all", "a", BOOL, "Show all containers, not only the running ones"),
        Flag("filter", "f", FILTER, "Show only what fits a condition (name=value)"),
        Flag("format", "", STRING, FORMAT_HELP),
        Flag("last", "n", INT, "Show the last n created containers, in any state", "-1"),
        Flag("latest", "l", BOOL, "Show the last created container, in any state"),
        Flag("no-trunc", "", BOOL, "Show everything in full"),
        Flag("quiet", "q", BOOL, "Show only IDs"),
        Flag("size", "s", BOOL, "Show sizes on disk"),
    ),
)
def containers(session: Session, options: Options, arguments: list[str]) -> None:
    """List containers."""
    format = options.format or session.config.text("psFormat")
    if options.format and options.quiet:
        session.warn("WARNING: Ignoring custom format, because both --format and --quiet are set.")
    if options.format:
        _check_format(options.format)
    size = options.size or (not options.quiet and not options.given("size") and _uses_size(options.format))
    found = session.engine.do(
        calls.container_list(
            all=options.all,
            limit=1 if options.latest and options.last == -1 else options.last,
            size=size,
            filters=options.filter,
        )
    )
    rows = [ContainerRow(item, truncate=not options.no_trunc) for item in found]
    write_rows(rows, CONTAINER_HEADINGS, _container_format(format, quiet=options.quiet, size=size))


def _container_format(source: str, *, quiet: bool, size: bool) -> str:
    if source == "raw":
        return "container_id: {{.ID}}" if quiet else _CONTAINERS_RAW + ("size: {{.Size}}\n" if size else "")
    if quiet:
        return "{{.ID}}"
    if source in ("", "table"):
        return _CONTAINERS + ("\t{{.Size}}" if size else "")
    return source


def _uses_size(format: str) -> bool:
    """Say whether a template needs the containers' sizes, which are costly to know."""
    return re.search(r"\.Size\b|json\s+\.(?![A-Za-z])", format) is not None


def _check_format(format: str) -> None:
    """Refuse a broken template before the daemon is asked."""
    from orlop.formats.template import parse

    if parse(format) is None:
        from orlop.cli.templates import Template, TemplateProblem

        try:
            Template(format, strict=True)
        except TemplateProblem as error:
            raise CommandError(f"failed to parse template: {error}") from None


@command(
    "[OPTIONS] [REPOSITORY[:TAG]]",
    at_most(1),
    flags=(
        Flag("all", "a", BOOL, "Show intermediate images too"),
        Flag("digests", "", BOOL, "Show digests"),
        Flag("filter", "f", FILTER, "Show only what fits a condition (name=value)"),
        Flag("format", "", STRING, FORMAT_HELP),
        Flag("no-trunc", "", BOOL, "Show everything in full"),
        Flag("quiet", "q", BOOL, "Show only IDs"),
        Flag("tree", "", BOOL, "List multi-platform images as a tree (EXPERIMENTAL)"),
    ),
    complete="image",
)
def images(session: Session, options: Options, arguments: list[str]) -> None:
    """List images."""
    if options.tree:
        raise CommandError("--tree is not supported: Orlop keeps one platform of an image")
    filters = options.filter
    if arguments:
        filters = {**filters, "reference": [*filters.get("reference", ()), arguments[0]]}
    found = session.engine.do(calls.image_list(all=options.all, filters=filters))
    configured = "" if options.quiet else session.config.text("imagesFormat")
    format = _image_format(options.format or configured or "table", quiet=options.quiet, digests=options.digests)
    rows: Sequence[ImageRow] = image_rows(
        found,
        truncate=not options.no_trunc,
        digests=options.digests,
        with_digest=options.digests or "{{.Digest}}" in format,
    )
    write_rows(rows, IMAGE_HEADINGS, format)


def _image_format(source: str, *, quiet: bool, digests: bool) -> str:
    if source == "table":
        return "{{.ID}}" if quiet else _IMAGES_DIGESTS if digests else _IMAGES
    if source == "raw":
        if quiet:
            return "image_id: {{.ID}}"
        return _IMAGES_RAW + ("digest: {{.Digest}}\n" if digests else "") + _IMAGES_RAW_END
    if source.startswith("table") and digests and "{{.Digest}}" not in source:
        return source + "\t{{.Digest}}"
    return source
