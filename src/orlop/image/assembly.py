"""Assembling: the layers that came in find their places in an image, and become visible all together.

Until `finish` nothing is seen: then the file system is synced once, the directories are renamed into ``layers/``, and
the caller names the images in one transaction. A power cut in between leaves things that no record names.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.formats.identity import chain_ids
from orlop.formats.tar.entry import TarError
from orlop.image.depot import Depot
from orlop.image.intake import TakenLayer, unpack_blob
from orlop.image.layers import chain_name, diff_name
from orlop.image.leases import Lease
from orlop.image.snapshots.overlay import OPTIONS
from orlop.image.unpack import Limits, NeedsParents, Unpacked
from orlop.linux.mount import detached_overlay
from orlop.model.record import LayerRecord

__all__ = ["Assembly", "extract"]


def extract(
    depot: Depot, below: Sequence[str], record: LayerRecord, limits: Limits | None = None
) -> tuple[Path, Unpacked]:
    """Unpack a kept layer into a new directory in the scratch directory; return it, and what it turned out to be.

    With directories `below` (topmost first) it is what the layer changes in their merged view. Raises
    `InvalidArgument`, `NotFound` if the blob is gone, and `OSError`; then nothing is left.
    """
    scratch = depot.scratch
    upper, work = scratch.directory("layer"), scratch.directory("work")
    try:
        if below:
            root = detached_overlay(below, str(upper), str(work), OPTIONS)
        else:
            root = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            unpacked = unpack_blob(depot, record, root, on_view=bool(below), limits=limits or Limits())
        finally:
            os.close(root)
    except NeedsParents as error:
        scratch.discard(upper)
        raise TarError(f"the lowest layer refers to {error}, which is nowhere") from None
    except BaseException:
        scratch.discard(upper)
        raise
    finally:
        scratch.discard(work)
    return upper, unpacked


class Assembly:
    """The new layers of one operation, which runs in one thread."""

    def __init__(self, depot: Depot, lease: Lease, limits: Limits) -> None:
        self._depot = depot
        self._lease = lease
        self._limits = limits
        self._new: dict[str, Path] = {}  # by name, still in the scratch directory

    def place(self, diff_ids: Sequence[str], taken: Sequence[TakenLayer]) -> tuple[LayerRecord, ...]:
        """Give each layer of an image its place and return their records, bottom first.

        Raises `InvalidArgument` if a layer is not the one that the configuration names.
        """
        if len(diff_ids) != len(taken):
            raise InvalidArgument(
                f"invalid manifest, layers length mismatch: expected {len(taken)}, got {len(diff_ids)}"
            )
        names: list[str] = []
        records: list[LayerRecord] = []
        for index, (diff_id, chain_id, layer) in enumerate(zip(diff_ids, chain_ids(diff_ids), taken, strict=True)):
            record = self._checked(index, diff_id, layer.record)
            name, record = self._place_one(names, diff_id, chain_id, record, layer)
            names.append(name)
            records.append(record)
        return tuple(records)

    def finish(self) -> None:
        """Make everything durable and visible. Raises `OSError`."""
        depot = self._depot
        depot.scratch.sync()
        for name in list(self._new):
            depot.layers.add(self._new.pop(name), name)
        depot.layers.sync_names()
        depot.content.sync_names()

    def abandon(self) -> None:
        """Drop what was placed and not made visible."""
        while self._new:
            self._depot.scratch.discard(self._new.popitem()[1])

    def _checked(self, index: int, diff_id: str, record: LayerRecord) -> LayerRecord:
        expected = Digest.parse(diff_id)
        actual = record.diff_id
        if expected.algorithm != Digest.parse(actual).algorithm:
            record = msgspec.structs.replace(record, diff_id=diff_id)  # unpacking the blob once more verifies it
            scratch = self._depot.scratch.directory("check")
            root = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                unpack_blob(self._depot, record, root, on_view=False, limits=self._limits)
            finally:
                os.close(root)
                self._depot.scratch.discard(scratch)
            return record
        if actual != diff_id:
            raise InvalidArgument(f'invalid diffID for layer {index}: expected "{diff_id}", got "{actual}"')
        return record

    def _place_one(
        self, below: list[str], diff_id: str, chain_id: str, record: LayerRecord, layer: TakenLayer
    ) -> tuple[str, LayerRecord]:
        by_chain, by_diff = chain_name(chain_id), diff_name(diff_id)
        for name in (by_chain, by_diff):
            self._lease.hold(name)
            if name in self._new or self._depot.layers.has(name):
                return name, record
        if layer.directory is not None and (layer.alone or not below):
            name = by_diff if layer.alone else by_chain
            self._new[name], layer.directory = layer.directory, None
            return name, record
        self._new[by_chain], unpacked = extract(self._depot, self._stack(below), record, self._limits)
        return by_chain, msgspec.structs.replace(record, unpacked_size=unpacked.size)

    def _stack(self, names: list[str]) -> list[str]:
        """Return the directories of layers that may not be in their place yet, topmost first."""
        directories: list[str] = []
        for name in dict.fromkeys(reversed(names)):  # as `Layers.stack` does
            new = self._new.get(name)
            directory = str(new or self._depot.layers.path / name)
            directories.append(directory)
            if self._depot.layers.opaque_root(directory):
                break
        return directories
