"""The last build of each target: what its steps were made of, for `--explain`.

What is many (files) lies in ``<data root>/build/lists/``, one compressed file for each list, named by the digest of
what it lists; the rest stands in the store. Both are bounded, and nothing of it is needed for anything else: what is
lost or cannot be read is as if there had been no build.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from backports import zstd

from orlop.build.explain import FileList
from orlop.formats.digest import is_hex
from orlop.image.scratch import Scratch
from orlop.model.record import LastBuildRecord, StepTrace
from orlop.store import builds as table
from orlop.store.store import Store

__all__ = ["LastBuilds"]

TARGETS = 100  # that are remembered
FILES = 200_000  # of a list; a longer one is not kept
BYTES = 64 << 20  # of all lists


@dataclass(frozen=True, slots=True)
class _Known:
    built_at: int
    lists: frozenset[str]  # file names

    @classmethod
    def of(cls, record: LastBuildRecord) -> _Known:
        names = (_file_name(name) for step in record.steps for name in step.files.values())
        return cls(record.built_at, frozenset(names))


class LastBuilds:
    """What is known of last builds, in `store` and beneath `path`."""

    def __init__(self, path: Path, store: Store, scratch: Scratch) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._store = store
        self._scratch = scratch
        self._known: dict[str, _Known] = {}
        self._keeping = asyncio.Lock()

    async def last(self, target: str) -> LastBuildRecord | None:
        """Return the last build of a target, None if there was none."""
        return await self._store.read(lambda tx: table.last(tx, target))

    async def keep(self, target: str, steps: tuple[StepTrace, ...], lists: Mapping[str, FileList]) -> None:
        """Remember a build of a target, with the lists that its steps name. Raises `errors.Error` and `OSError`."""
        record = LastBuildRecord(name=target, built_at=time.time_ns(), steps=steps)
        async with self._keeping:
            if not self._known:
                self._known = {last.name: _Known.of(last) for last in await self._store.read(table.lasts)}
            await asyncio.to_thread(self._write, lists)
            await self._store.write(lambda tx: table.remember(tx, record), durable=False)
            self._known[target] = _Known.of(record)
            await self._bound()

    def files(self, name: str) -> FileList | None:
        """Return a list, None if it is not there. Blocks; call it in a thread."""
        try:
            data = zstd.decompress((self._path / _file_name(name)).read_bytes())
        except (OSError, ValueError, zstd.ZstdError):
            return None
        words = data.decode("utf-8", "surrogateescape").split("\0")
        return list(zip(words[:-1:2], words[1::2], strict=True))

    async def _bound(self) -> None:
        """Forget the oldest targets beyond what is kept, and the lists that no other names."""
        sizes = await asyncio.to_thread(self._sizes)
        kept = sorted(self._known, key=lambda name: self._known[name].built_at)
        forgotten = [kept.pop(0) for _ in range(len(kept) - TARGETS)]
        while len(kept) > 1 and sum(sizes.get(name, 0) for name in self._lists(kept)) > BYTES:
            forgotten.append(kept.pop(0))
        if forgotten:
            await self._store.write(lambda tx: table.forget(tx, forgotten), durable=False, frees=True)
            for name in forgotten:
                del self._known[name]
        needed = self._lists(kept)
        await asyncio.to_thread(self._remove, [name for name in sizes if name not in needed])

    def _lists(self, targets: Iterable[str]) -> set[str]:
        return {name for target in targets for name in self._known[target].lists}

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


def _file_name(name: str) -> str:
    hexadecimal = name.rpartition(":")[2]
    return hexadecimal if is_hex(hexadecimal) else "none"
