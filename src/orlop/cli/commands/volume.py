"""Commands on volumes: create, ls, rm."""

from __future__ import annotations

from typing import Any

from orlop import errors
from orlop.cli.command import at_least, at_most, command
from orlop.cli.commands.look import natural
from orlop.cli.create.flags import LABELS
from orlop.cli.failure import CommandError, daemon_message
from orlop.cli.flags import BOOL, LIST, MAP, STRING, Flag, Options
from orlop.cli.kinds import BYTES, FILTER
from orlop.cli.listing import FORMAT_HELP, write_rows
from orlop.cli.rows import VOLUME_HEADINGS, VolumeRow
from orlop.cli.session import Session
from orlop.client import calls

__all__ = ["create", "list_volumes", "remove"]

_CLUSTER = "Of cluster volumes, which Orlop does not have"
_CLUSTER_FLAGS = (
    Flag("availability", "", STRING, _CLUSTER, "active"),
    Flag("group", "", STRING, _CLUSTER),
    Flag("limit-bytes", "", BYTES, _CLUSTER),
    Flag("required-bytes", "", BYTES, _CLUSTER),
    Flag("scope", "", STRING, _CLUSTER, "single"),
    Flag("secret", "", MAP, _CLUSTER, "map[]"),
    Flag("sharing", "", STRING, _CLUSTER, "none"),
    Flag("topology-preferred", "", LIST, _CLUSTER),
    Flag("topology-required", "", LIST, _CLUSTER),
    Flag("type", "", STRING, _CLUSTER, "block"),
)


@command(
    "[OPTIONS] [VOLUME]",
    at_most(1),
    flags=(
        Flag("driver", "d", STRING, "Driver of the volume", "local"),
        Flag("label", "", LABELS, "Set a label (name=value)"),
        Flag("*name", "", STRING, "Name of the volume"),
        Flag("opt", "o", MAP, "Option for the driver (name=value)", "map[]"),
        *_CLUSTER_FLAGS,
    ),
)
def create(session: Session, options: Options, arguments: list[str]) -> None:
    """Create a volume and print its name."""
    if arguments and options.name:
        raise CommandError(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg"
        )
    if any(options.given(flag.name) for flag in _CLUSTER_FLAGS):
        raise CommandError("cluster volumes are not supported: they need a swarm")
    body: dict[str, Any] = {
        "Name": arguments[0] if arguments else options.name,
        "Driver": options.driver,
        "DriverOpts": options.opt,
        "Labels": {name: value for name, _, value in (text.partition("=") for text in options.label)},
    }
    session.print(session.engine.do(calls.volume_create(body))["Name"])


@command(
    "[OPTIONS]",
    flags=(
        Flag("cluster", "", BOOL, "Show only cluster volumes"),
        Flag("filter", "f", FILTER, "Show only what fits a condition (dangling=true)"),
        Flag("format", "", STRING, FORMAT_HELP),
        Flag("quiet", "q", BOOL, "Show only names"),
    ),
)
def list_volumes(session: Session, options: Options, arguments: list[str]) -> None:
    """List volumes."""
    found = session.engine.do(calls.volume_list(options.filter)).get("Volumes") or []
    if options.cluster:
        found = [volume for volume in found if volume.get("ClusterVolume")]
    format = options.format or ("" if options.quiet else session.config.text("volumesFormat")) or "table"
    if options.cluster and not options.quiet:
        format = "table {{.Name}}\t{{.Group}}\t{{.Driver}}\t{{.Availability}}\t{{.Status}}"
    if format == "table":
        format = "{{.Name}}" if options.quiet else "table {{.Driver}}\t{{.Name}}"
    elif format == "raw":
        format = "name: {{.Name}}" if options.quiet else "name: {{.Name}}\ndriver: {{.Driver}}\n"
    rows = [VolumeRow(volume) for volume in sorted(found, key=lambda volume: natural(volume["Name"]))]
    write_rows(rows, VOLUME_HEADINGS, format)


@command(
    "[OPTIONS] VOLUME [VOLUME...]",
    at_least(1),
    flags=(Flag("force", "f", BOOL, "Do not complain about volumes that do not exist"),),
    long="Remove volumes. A volume that a container uses cannot be removed.",
    complete="volume",
)
def remove(session: Session, options: Options, arguments: list[str]) -> None:
    """Remove volumes."""
    failed: list[str] = []
    for name in arguments:
        try:
            session.engine.do(calls.volume_remove(name, force=options.force))
        except errors.Error as error:
            failed.append(daemon_message(error))
        else:
            session.print(name)
    if failed:
        raise CommandError("\n".join(failed))
