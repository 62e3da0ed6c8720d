"""The build cache as `orlop builder du` prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from orlop.cli.build.output import plain_text
from orlop.cli.humanize import ago, go_time, human_size
from orlop.cli.output import tabulate

__all__ = ["usage_text"]

Json = Mapping[str, Any]


def usage_text(items: Sequence[Json], *, verbose: bool) -> str:
    """Return a table of the parts of the cache, or all that is known of each, and the sums of their sizes."""
    ordered = sorted(items, key=lambda item: (item.get("Size") or 0, item["ID"]), reverse=True)
    body = "\n".join(map(_details, ordered)) if verbose else _table(ordered)
    return f"{body}\n{_sums(ordered)}"


def _table(items: Sequence[Json]) -> str:
    rows = [f"{item['ID']}\t{_truth(not item.get('InUse'))}\t{_size(item)}\t{_used(item)}" for item in items]
    return tabulate("\n".join(["ID\tRECLAIMABLE\tSIZE\tLAST ACCESSED", *rows])) + "\n"


def _size(item: Json) -> str:
    """Return the size, with a star where something else needs the same."""
    return human_size(item.get("Size") or 0) + ("*" if item.get("Shared") else "")


def _used(item: Json) -> str:
    return ago(datetime.fromisoformat(item["LastUsedAt"]).timestamp()) if item.get("LastUsedAt") else ""


def _details(item: Json) -> str:
    lines = {
        "ID": item["ID"],
        "Parents": ", ".join(item.get("Parents") or ()),
        "Created at": go_time(item["CreatedAt"]),
        "Reclaimable": _truth(not item.get("InUse")),
        "Shared": _truth(item.get("Shared")),
        "Size": human_size(item.get("Size") or 0),
        "Description": plain_text(str(item.get("Description") or "")),
        "Usage count": str(item.get("UsageCount") or 0),
        "Last used": _used(item),
        "Type": item.get("Type", ""),
    }
    return tabulate("".join(f"{name}:\t{value}\n" for name, value in lines.items() if value), minimum=0, padding=2)


def _sums(items: Sequence[Json]) -> str:
    sums = {
        "Shared": [item for item in items if item.get("Shared")],
        "Private": [item for item in items if not item.get("Shared")],
        "Reclaimable": [item for item in items if not item.get("InUse")],
        "Total": items,
    }
    lines = (f"{name}:\t{human_size(sum(item.get('Size') or 0 for item in found))}\n" for name, found in sums.items())
    return tabulate("".join(lines), minimum=0, padding=2)


def _truth(value: object) -> str:
    return "true" if value else "false"
