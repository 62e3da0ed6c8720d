"""The last build of each target: what its steps were made of, for `--explain`.

What is many (files) lies in ``<data root>/build/lists/``, one compressed file for each list, named by the digest of
what it lists; the rest stands in the store. Both are bounded, and nothing of it is needed for anything else: what is
lost or cannot be read is as if there had been no build.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from backports import zstd

from orlop.build.explain import FileList
from orlop.formats.digest import is_hex
from orlop.image.scratch import Scratch
from orlop.model.record import LastBuildRecord, StepTrace
from orlop.store import builds as table
from orlop.store.store import Store

__all__ = ["LastBuilds"]

log = logging.getLogger(__name__)

TARGETS = 100  # that are remembered
FILES = 200_000  # of a list; a longer one is not kept
BYTES = 64 << 20  # of all lists


class LastBuilds:
    """What is known of last builds, in `store` and beneath `path`."""

    def __init__(self, path: Path, store: Store, scratch: Scratch) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._store = store
        self._scratch = scratch

    async def last(self, target: str) -> LastBuildRecord | None:
        """Return the last build of a target, None if there was none."""
        return await self._store.read(lambda tx: table.last(tx, target))

    async def keep(self, target: str, steps: tuple[StepTrace, ...], lists: Mapping[str, FileList]) -> None:
        """Remember a build of a target, with the lists that its steps name. Raises `errors.Error` and `OSError`."""
        record = LastBuildRecord(name=target, built_at=time.time_ns(), steps=steps)
        await asyncio.to_thread(self._write, lists)
        await self._store.write(lambda tx: table.remember(tx, record), durable=False)
        records = sorted(await self._store.read(table.lasts), key=lambda record: record.built_at)
        await self._bound(records)

    def files(self, name: str) -> FileList | None:
        """Return a list, None if it is not there. Blocks; call it in a thread."""
        try:
            data = zstd.decompress((self._path / _file_name(name)).read_bytes())
        except (OSError, ValueError, zstd.ZstdError):
            return None
        words = data.decode("utf-8", "surrogateescape").split("\0")
        return list(zip(words[:-1:2], words[1::2], strict=True))

    async def _bound(self, records: list[LastBuildRecord]) -> None:
        """Forget the oldest targets (`records` are all, oldest first) beyond what is kept, and the lists of none."""
        sizes = await asyncio.to_thread(self._sizes)
        forgotten = records[: max(0, len(records) - TARGETS)]
        kept = records[len(forgotten) :]
        while len(kept) > 1 and sum(sizes.get(name, 0) for name in _lists(kept)) > BYTES:
            forgotten.append(kept.pop(0))
        if forgotten:
            names = [record.name for record in forgotten]
            await self._store.write(lambda tx: table.forget(tx, names), durable=False, frees=True)
        needed = _lists(kept)
        await asyncio.to_thread(self._remove, [name for name in sizes if name not in needed])

    def _write(self, lists: Mapping[str, FileList]) -> None:
        for name, files in lists.items():
            place = self._path / _file_name(name)
            if len(files) > FILES or place.exists():
                continue
            text = "".join(f"{path}\0{fingerprint}\0" for path, fingerprint in files)
            fresh = self._scratch.name("list")
            fresh.write_bytes(zstd.compress(text.encode("utf-8", "surrogateescape"), level=1))
            fresh.rename(place)

    def _sizes(self) -> dict[str, int]:
        with os.scandir(self._path) as found:
            return {entry.name: entry.stat().st_size for entry in found}

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self._path / name).unlink(missing_ok=True)


def _lists(records: Iterable[LastBuildRecord]) -> set[str]:
    """Return the file names of all lists that the steps of `records` name."""
    return {_file_name(name) for record in records for step in record.steps for name in step.files.values()}


def _file_name(name: str) -> str:
    hexadecimal = name.rpartition(":")[2]
    return hexadecimal if is_hex(hexadecimal) else "none"
