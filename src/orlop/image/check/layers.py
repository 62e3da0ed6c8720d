"""Layers: is each directory what its blob says? The blob is unpacked once more, and the two trees are compared.

That is the same code that made the directory, so that nothing it does can be taken for damage; and what was unpacked
is there to replace a damaged directory with.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orlop.errors import InvalidArgument, NotFound
from orlop.formats.tar.entry import TarError
from orlop.image.assembly import Assembly, extract
from orlop.image.check.blobs import PULL_AGAIN
from orlop.image.check.problem import Problem
from orlop.image.check.trees import differences
from orlop.image.depot import Depot
from orlop.image.intake import TakenLayer
from orlop.image.layers import Layers
from orlop.image.leases import Lease
from orlop.image.unpack import Limits
from orlop.linux.filesystem import syncfs
from orlop.model.record import ImageRecord, LayerRecord

__all__ = ["Checked", "Placed", "check_layer", "missing", "placed", "restore"]

_SHOWN = 20  # differences of one layer that are told


@dataclass(frozen=True, slots=True)
class Placed:
    """A layer's directory: the layer that is in it, and the names of those below that it was unpacked on."""

    name: str
    record: LayerRecord
    below: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of checking a layer. `fresh` is the sound directory that can take its place, None for a sound one."""

    problem: Problem | None = None
    fresh: Path | None = None


def placed(layers: Layers, records: Iterable[ImageRecord]) -> dict[str, Placed]:
    """Return every layer that the images have and that has a directory, by the directory's name."""
    found: dict[str, Placed] = {}
    for record in records:
        names = layers.find([layer.diff_id for layer in record.layers])
        for index, (name, layer) in enumerate(zip(names, record.layers, strict=True)):
            below = [other for other in names[:index] if other is not None]
            if name is not None and layers.stands_alone(name):
                found.setdefault(name, Placed(name, layer))
            elif name is not None and len(below) == index:
                found.setdefault(name, Placed(name, layer, tuple(below)))
    return found


def missing(layers: Layers, record: ImageRecord) -> list[LayerRecord]:
    """Return the layers of an image that have no directory."""
    names = layers.find([layer.diff_id for layer in record.layers])
    return [layer for name, layer in zip(names, record.layers, strict=True) if name is None]


def restore(depot: Depot, lease: Lease, record: ImageRecord) -> None:
    """Unpack the `missing` layers of an image from their blobs. Raises `InvalidArgument`, `NotFound` and `OSError`."""
    diff_ids = [layer.diff_id for layer in record.layers]
    assembly = Assembly(depot, lease, Limits())
    taken: list[TakenLayer] = []
    try:
        for name, layer in zip(depot.layers.find(diff_ids), record.layers, strict=True):
            taken.append(TakenLayer(layer) if name else _unpacked(depot, layer))
        assembly.place(diff_ids, taken)
        assembly.finish()
    finally:
        assembly.abandon()
        for unused in taken:
            if unused.directory is not None:
                depot.scratch.discard(unused.directory)


def _unpacked(depot: Depot, record: LayerRecord) -> TakenLayer:
    try:
        directory, unpacked = extract(depot, (), record)
    except TarError:
        return TakenLayer(record)  # it needs those below it, which `Assembly.place` knows
    return TakenLayer(record, directory, unpacked.alone)


def check_layer(depot: Depot, layer: Placed) -> Checked:
    """Compare a layer with its blob. What `Checked.fresh` names is the caller's to use or to discard."""
    if not layer.record.blob:
        return Checked(Problem("layer", layer.name, "has no blob to be compared with"))
    try:
        fresh, _ = extract(depot, depot.layers.stack(layer.below) if layer.below else (), layer.record)
    except NotFound:
        return Checked(Problem("layer", layer.name, "cannot be verified: its blob is missing", remedy=PULL_AGAIN))
    except InvalidArgument as error:
        return Checked(Problem("layer", layer.name, f"cannot be verified: {error.message}", remedy=PULL_AGAIN))
    except OSError as error:
        return Checked(Problem("layer", layer.name, f"cannot be verified: {error.strerror}"))
    # Unpacking onto a view changes times of directories that the layer itself says nothing about.
    found = _compare(fresh, depot.layers.path / layer.name, times_of_directories=not layer.below)
    if not found:
        depot.scratch.discard(fresh)
        return Checked()
    _sync(fresh)
    more = ("and more",) if len(found) > _SHOWN else ()
    return Checked(Problem("layer", layer.name, "is not as its blob", (*found[:_SHOWN], *more)), fresh)


def _compare(fresh: Path, directory: Path, *, times_of_directories: bool) -> list[str]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    expected = os.open(fresh, flags)
    try:
        try:
            actual = os.open(directory, flags)
        except (FileNotFoundError, NotADirectoryError):
            return ["the whole directory is missing"]
        try:
            found = differences(expected, actual, times_of_directories=times_of_directories)
            return list(itertools.islice(found, _SHOWN + 1))
        except OSError as error:
            return [f"cannot be read: {error.strerror}"]
        finally:
            os.close(actual)
    finally:
        os.close(expected)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs(fd)
    finally:
        os.close(fd)
