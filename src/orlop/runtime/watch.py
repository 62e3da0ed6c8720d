"""Waiting for a change in a directory, on the event loop, without polling.

All who wait on one loop share one inotify instance (a user may have only 128). A watch tells once and is gone, so a
directory that is written to costs nothing while nobody waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from orlop.errors import Unavailable
from orlop.linux.inotify import CREATE, DELETE_SELF, MODIFY, MOVED_TO, ONESHOT, Inotify

__all__ = ["DirectoryWatch", "watching"]

_MASK = MODIFY | CREATE | MOVED_TO | DELETE_SELF | ONESHOT
_shared: dict[asyncio.AbstractEventLoop, _Instance] = {}


class DirectoryWatch:
    """Tells of the next change in `directory` after `arm`."""

    def __init__(self, instance: _Instance, directory: str) -> None:
        self._instance = instance
        self._directory = directory
        self._watch = 0
        self._changed: asyncio.Future[None] | None = None

    def arm(self) -> asyncio.Future[None]:
        """Return a future that is done at the next change; look at the directory *after* this, then wait.

        Raises `FileNotFoundError` when the directory is gone.
        """
        if self._changed is None or self._changed.done():
            self._watch, self._changed = self._instance.arm(self._directory)
        return self._changed

    def disarm(self) -> None:
        """Wait no more."""
        if self._changed is not None:
            self._instance.disarm(self._watch, self._changed)
            self._changed = None


class _Instance:
    """The inotify instance of a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._inotify = Inotify()
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self.users = 0
        loop.add_reader(self._inotify.fileno(), self._read)

    def arm(self, directory: str) -> tuple[int, asyncio.Future[None]]:
        try:
            watch = self._inotify.add(directory, _MASK)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unavailable(f"cannot watch {directory}: {error.strerror} (fs.inotify.max_user_watches)") from error
        future = self._loop.create_future()
        self._waiting.setdefault(watch, []).append(future)
        return watch, future

    def disarm(self, watch: int, future: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(watch, [])
        if future in waiting:
            waiting.remove(future)
        future.cancel()
        if watch in self._waiting and not waiting:
            del self._waiting[watch]
            with suppress(OSError):  # EINVAL: it has just fired
                self._inotify.remove(watch)

    def _read(self) -> None:
        for event in self._inotify.read():
            for future in self._waiting.pop(event.watch, ()):
                if not future.done():
                    future.set_result(None)

    def close(self) -> None:
        self._loop.remove_reader(self._inotify.fileno())
        self._inotify.close()


@contextmanager
def watching(directory: str) -> Iterator[DirectoryWatch]:
    """Give a `DirectoryWatch` for use on the running loop."""
    loop = asyncio.get_running_loop()
    if loop not in _shared:
        _shared[loop] = _Instance(loop)
    instance = _shared[loop]
    instance.users += 1
    watch = DirectoryWatch(instance, directory)
    try:
        yield watch
    finally:
        watch.disarm()
        instance.users -= 1
        if not instance.users:
            instance.close()
            del _shared[loop]
