"""Commands on networks: ls. Those that make and change networks come with networks of one's own."""

from __future__ import annotations

from orlop.cli.command import command
from orlop.cli.commands.look import natural
from orlop.cli.flags import BOOL, STRING, Flag, Options
from orlop.cli.humanize import go_time
from orlop.cli.kinds import FILTER
from orlop.cli.listing import FORMAT_HELP, Headings, Row, write_rows
from orlop.cli.rows import Json, short_id
from orlop.cli.session import Session
from orlop.client import calls

__all__ = ["list_networks"]

_HEADINGS: Headings = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}


class NetworkRow(Row):
    """A network of ``GET /networks``."""

    headings = _HEADINGS

    def __init__(self, network: Json, *, truncate: bool) -> None:
        self._network = network
        self._truncate = truncate

    def ID(self) -> str:
        return short_id(self._network["Id"]) if self._truncate else str(self._network["Id"])

    def Name(self) -> str:
        return str(self._network["Name"])

    def Driver(self) -> str:
        return str(self._network.get("Driver", ""))

    def Scope(self) -> str:
        return str(self._network.get("Scope", ""))

    def IPv4(self) -> str:
        return self._switch("EnableIPv4")

    def IPv6(self) -> str:
        return self._switch("EnableIPv6")

    def Internal(self) -> str:
        return self._switch("Internal")

    def Labels(self) -> str:
        return ",".join(f"{key}={value}" for key, value in (self._network.get("Labels") or {}).items())

    def Label(self, name: str) -> str:
        return str((self._network.get("Labels") or {}).get(name, ""))

    def CreatedAt(self) -> str:
        return go_time(self._network.get("Created", ""))

    def _switch(self, field: str) -> str:
        return "true" if self._network.get(field) else "false"


@command(
    "[OPTIONS]",
    flags=(
        Flag("filter", "f", FILTER, "Show only what fits a condition (driver=bridge)"),
        Flag("format", "", STRING, FORMAT_HELP),
        Flag("no-trunc", "", BOOL, "Show everything in full"),
        Flag("quiet", "q", BOOL, "Show only IDs"),
    ),
)
def list_networks(session: Session, options: Options, arguments: list[str]) -> None:
    """List networks."""
    found = session.engine.do(calls.network_list(options.filter))
    format = options.format or ("" if options.quiet else session.config.text("networksFormat")) or "table"
    if format == "table":
        format = "{{.ID}}" if options.quiet else "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"
    elif format == "raw":
        rest = "" if options.quiet else "\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n"
        format = "network_id: {{.ID}}" + rest
    rows = [
        NetworkRow(network, truncate=not options.no_trunc)
        for network in sorted(found, key=lambda network: natural(network["Name"]))
    ]
    write_rows(rows, _HEADINGS, format)
