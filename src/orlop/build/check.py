"""Is what the build cache keeps what it should be? What is not is dropped: a build makes it again."""

from __future__ import annotations

from collections.abc import Collection

from orlop.build.cache import directory_of, names_of_step
from orlop.formats.digest import Digest
from orlop.image.check.blobs import check_blob
from orlop.image.check.layers import Placed, check_layer
from orlop.image.check.problem import Problem
from orlop.image.depot import Depot
from orlop.model.record import BuildStepRecord

__all__ = ["check_step"]


def check_step(depot: Depot, record: BuildStepRecord, checked: Collection[str], bad: Collection[str]) -> Problem | None:
    """Return what is wrong with the blob or the layer of a record, which a lease holds.

    `checked` are blobs and layers that need not be looked at, for images have them too; `bad` are those that are
    known to be damaged. Blocks.
    """
    if damaged := sorted(names_of_step(record).intersection(bad)):
        return _problem(record, f"{damaged[0]} is damaged")
    directory, blob = directory_of(record, depot), record.layer.blob
    if directory is None:
        return _problem(record, "its layer is missing")
    if blob and blob not in checked and (problem := check_blob(depot.content, Digest.parse(blob))) is not None:
        return _problem(record, f"blob {blob} {problem.message}")
    below = [name for name in depot.layers.find(record.base) if name is not None]
    if directory in checked or not (depot.layers.stands_alone(directory) or len(below) == len(record.base)):
        return None  # what it was unpacked on is gone, so that it cannot be unpacked for comparison
    placed = Placed(directory, record.layer, () if depot.layers.stands_alone(directory) else tuple(below))
    found = check_layer(depot, placed)
    if found.fresh is not None:
        depot.scratch.discard(found.fresh)
    return None if found.problem is None else _problem(record, f"layer {directory} {found.problem.message}")


def _problem(record: BuildStepRecord, message: str) -> Problem:
    return Problem("build step", record.description or record.key, message, remedy="repair")
