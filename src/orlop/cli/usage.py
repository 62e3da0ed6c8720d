"""The tables of `orlop system df`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from orlop.cli.cache_rows import CACHE_HEADINGS, CACHE_TABLE, cache_rows
from orlop.cli.humanize import human_size
from orlop.cli.listing import Headings, Row, render_rows, write_rows
from orlop.cli.output import tabulate
from orlop.cli.rows import (
    CONTAINER_HEADINGS,
    IMAGE_HEADINGS,
    VOLUME_HEADINGS,
    ContainerRow,
    ImageRow,
    VolumeRow,
    image_rows,
)

__all__ = ["write_usage"]

Json = Mapping[str, Any]

_HEADINGS: Headings = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
_ACTIVE = ("running", "paused", "restarting")


class SummaryRow(Row):
    """How much one kind of object takes."""

    headings = _HEADINGS

    def __init__(self, kind: str, total: int, active: int, size: int, reclaimable: int, *, share: bool) -> None:
        self._kind = kind
        self._total = total
        self._active = active
        self._size = size
        self._reclaimable = reclaimable
        self._share = share

    def Type(self) -> str:
        return self._kind

    def TotalCount(self) -> str:
        return str(self._total)

    def Active(self) -> str:
        return str(self._active)

    def Size(self) -> str:
        return human_size(self._size)

    def Reclaimable(self) -> str:
        text = human_size(self._reclaimable)
        return f"{text} ({self._reclaimable * 100 // self._size}%)" if self._share and self._size > 0 else text


def write_usage(usage: Json, format: str, *, verbose: bool) -> None:
    """Print the answer of ``GET /system/df``."""
    if verbose and format == "table":
        _write_details(usage)
        return
    if format == "table":
        format = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"
    elif format == "raw":
        format = (
            "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\n"
            "size: {{.Size}}\nreclaimable: {{.Reclaimable}}\n"
        )
    write_rows(_summary(usage), _HEADINGS, format)


def _summary(usage: Json) -> list[SummaryRow]:
    return [
        _images(usage.get("Images") or (), usage.get("LayersSize") or 0),
        _containers(usage.get("Containers") or ()),
        _volumes(usage.get("Volumes") or ()),
        _builds(usage.get("BuildCache") or ()),
    ]


def _images(images: Sequence[Json], total: int) -> SummaryRow:
    used = sum(
        image["Size"] - image["SharedSize"]
        for image in images
        if image.get("Containers") and -1 not in (image["Size"], image["SharedSize"])
    )
    active = sum(image.get("Containers", 0) > 0 for image in images)
    return SummaryRow("Images", len(images), active, total, total - used, share=True)


def _containers(containers: Sequence[Json]) -> SummaryRow:
    size = sum(container.get("SizeRw") or 0 for container in containers)
    active = [container for container in containers if container.get("State") in _ACTIVE]
    used = sum(container.get("SizeRw") or 0 for container in active)
    return SummaryRow("Containers", len(containers), len(active), size, size - used, share=True)


def _volumes(volumes: Sequence[Json]) -> SummaryRow:
    known = [(volume.get("UsageData") or {}) for volume in volumes]
    measured = [data for data in known if data.get("Size", -1) != -1]
    size = sum(data["Size"] for data in measured)
    free = sum(data["Size"] for data in measured if not data.get("RefCount"))
    active = sum(data.get("RefCount", 0) > 0 for data in known)
    return SummaryRow("Local Volumes", len(volumes), active, size, free, share=True)


def _builds(records: Sequence[Json]) -> SummaryRow:
    size = sum(record["Size"] for record in records if not record.get("Shared"))
    used = sum(record["Size"] for record in records if record.get("InUse") and not record.get("Shared"))
    active = sum(bool(record.get("InUse")) for record in records)
    return SummaryRow("Build Cache", len(records), active, size, size - used, share=False)


def _write_details(usage: Json) -> None:
    images: Sequence[ImageRow] = _first_names(usage.get("Images") or ())
    containers = [
        ContainerRow({**container, "SizeRootFs": 0}, truncate=True) for container in usage.get("Containers") or ()
    ]
    volumes = [VolumeRow(volume) for volume in usage.get("Volumes") or ()]
    parts: tuple[tuple[str, Sequence[Row], Headings, str], ...] = (
        (
            "Images space usage:",
            images,
            IMAGE_HEADINGS,
            "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
            "\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
        ),
        (
            "\nContainers space usage:",
            containers,
            CONTAINER_HEADINGS,
            "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
        ),
        ("\nLocal Volumes space usage:", volumes, VOLUME_HEADINGS, "{{.Name}}\t{{.Links}}\t{{.Size}}"),
    )
    for title, rows, headings, columns in parts:
        sys.stdout.write(f"{title}\n\n{render_rows(rows, headings, f'table {columns}')}")
    builds = _builds(usage.get("BuildCache") or ())
    sys.stdout.write(f"\nBuild cache usage: {builds.Size()}\n\n")
    rows = cache_rows(usage.get("BuildCache") or (), truncate=True)
    sys.stdout.write(render_rows(rows, CACHE_HEADINGS, CACHE_TABLE))
    if account := usage.get("DataRoot"):  # Orlop's own
        lines = "".join(f"{name}\t{human_size(size)}\n" for name, size in account.items())
        sys.stdout.write("\nData root space usage:\n\n" + tabulate(f"PART\tSIZE\n{lines}"))


def _first_names(images: Sequence[Json]) -> list[ImageRow]:
    """Return a row for each image, under the first of its names."""
    shortened = [{**image, "RepoTags": (image.get("RepoTags") or ())[:1], "RepoDigests": ()} for image in images]
    return image_rows(shortened, truncate=True, digests=False, with_digest=False)
