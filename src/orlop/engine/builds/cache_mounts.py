"""Cache mounts (`RUN --mount=type=cache`): directories that outlive the builds that fill them.

A *cache* is named by its id and by what it began with; it has one directory or, where steps wanted one each at the
same time (`sharing=private`), several. Steps that share one may be in it together; who wants it ``locked`` has it alone
and waits for that. A directory is whole or absent, and what is in it is nobody's promise: it may be pruned whenever no
step is in it.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from orlop.image.scratch import Scratch
from orlop.linux.tree import measure

__all__ = ["CacheMount", "CacheMounts", "cache_key"]

Sharing = Literal["shared", "private", "locked"]

_ABOUT = "about.json"
_DATA = "data"


def cache_key(id: str, origin: str) -> str:
    """Return the name of a cache: `origin` says what a new one begins with, "" for nothing."""
    return hashlib.sha256(json.dumps([id, origin]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CacheMount:
    """One directory of a cache, for lists of what there is. Times are ns, the size is bytes on the disk."""

    name: str
    id: str
    size: int
    created_at: int
    used_at: int
    uses: int
    in_use: bool


class CacheMounts:
    """The directories beneath `path`. Belongs to one event loop; what blocks runs in threads."""

    def __init__(self, path: Path, scratch: Scratch) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._scratch = scratch
        self._steps: dict[str, list[Sharing]] = {}  # who is in a directory, by its name
        self._locks: dict[str, asyncio.Lock] = {}  # of those: held while one is being made
        self._left = asyncio.Event()  # set, and replaced, whenever a step leaves

    @asynccontextmanager
    async def entered(self, key: str, id: str, sharing: Sharing, fill: Callable[[Path], None]) -> AsyncIterator[Path]:
        """Be in a directory of the cache `key` for a while; yield it. `fill` makes the content of a new one, in a
        thread. Raises `OSError`.
        """
        while (name := self._choose(key, sharing)) is None:
            await self._left.wait()
        self._steps.setdefault(name, []).append(sharing)
        try:
            async with self._locks.setdefault(name, asyncio.Lock()):
                directory = await asyncio.to_thread(self._made, name, id, fill)
            yield directory
        finally:
            self._leave(name, sharing)

    def all(self) -> list[CacheMount]:
        """Return all directories, those used longest ago first. Blocks; call it in a thread."""
        found = [mount for name in os.listdir(self._path) if (mount := self._look(name)) is not None]
        return sorted(found, key=lambda mount: mount.used_at)

    def remove(self, name: str) -> bool:
        """Remove a directory; False if there is none or a step is in it. Raises `OSError`."""
        return name not in self._steps and self._scratch.discard(self._path / name)

    def _choose(self, key: str, sharing: Sharing) -> str | None:
        """Return the directory to enter, which may have to be made; None if the one that is wanted is taken."""
        names = self._names(key)
        if sharing == "locked":
            return names[0] if names[0] not in self._steps else None
        return next(name for name in names if self._admits(name, sharing))

    def _names(self, key: str) -> list[str]:
        """Return the directories of a cache in their order, and one that there is not."""
        used = {name for name in (*os.listdir(self._path), *self._steps) if name.startswith(f"{key}-")}
        numbers = sorted(int(name.rpartition("-")[2]) for name in used)
        free = next(number for number in range(len(numbers) + 1) if number not in numbers)
        return [f"{key}-{number}" for number in (*numbers, free)]

    def _admits(self, name: str, sharing: Sharing) -> bool:
        inside = self._steps.get(name, [])
        return not inside or (sharing == "shared" and set(inside) == {"shared"})

    def _leave(self, name: str, sharing: Sharing) -> None:
        inside = self._steps[name]
        inside.remove(sharing)
        if not inside:
            del self._steps[name], self._locks[name]
        left, self._left = self._left, asyncio.Event()
        left.set()

    def _made(self, name: str, id: str, fill: Callable[[Path], None]) -> Path:
        """Return a directory, made if it is missing, and note that it is used."""
        place, now = self._path / name, time.time_ns()
        about: dict[str, Any] = {"id": id, "created_at": now, "uses": 0}
        try:
            about = json.loads((place / _ABOUT).read_bytes())
        except FileNotFoundError:
            self._make(place, fill)
        except ValueError:  # a power cut in the middle of a note
            pass
        (place / _ABOUT).write_text(json.dumps({**about, "used_at": now, "uses": about["uses"] + 1}))
        return place / _DATA

    def _make(self, place: Path, fill: Callable[[Path], None]) -> None:
        fresh = self._scratch.directory("cache-mount")
        try:
            (fresh / _DATA).mkdir(mode=0o755)
            fill(fresh / _DATA)
            fresh.rename(place)
        except BaseException as error:
            self._scratch.discard(fresh)
            if not isinstance(error, OSError) or error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise  # else a step that was cancelled has made it after all

    def _look(self, name: str) -> CacheMount | None:
        try:
            about = json.loads((self._path / name / _ABOUT).read_bytes())
            size = measure(self._path / name).allocated
        except FileNotFoundError:  # pruned meanwhile
            return None
        except ValueError:
            about, size = {}, measure(self._path / name).allocated
        return CacheMount(
            name=name,
            id=about.get("id", ""),
            size=size,
            created_at=about.get("created_at", 0),
            used_at=about.get("used_at", 0),
            uses=about.get("uses", 0),
            in_use=name in self._steps,
        )
