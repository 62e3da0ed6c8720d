"""The scratch directory, ``tmp/``: where everything new is written first, and where everything old goes to die.

To be seen or gone is one rename on the same file system. What is here when the daemon starts is left over from a
crash and is removed, but for downloads that may go on (`orlop.image.partials`). Removal runs in one thread of its own:
a big tree takes seconds, and nobody waits for it.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import queue
import threading
import time
from collections.abc import Collection
from pathlib import Path

from orlop.linux.filesystem import clear_protection, spread, syncfs
from orlop.linux.tree import Stopped, remove_tree

__all__ = ["Scratch"]

log = logging.getLogger(__name__)

PAUSES = (0.02, 0.2, 1.0, None)  # seconds between the tries to remove what somebody still writes into


class Scratch:
    """The scratch directory at `path`. Every method may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        spread(path)  # each layer begins in here
        self._numbers = itertools.count()
        self._prefix = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._queue: queue.SimpleQueue[Path | threading.Event | None] = queue.SimpleQueue()
        self._doomed: set[str] = set()  # names of what waits for its removal
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="image-removal", daemon=True)
        self._thread.start()

    def sweep(self, keep: Collection[str] = ()) -> None:
        """Have everything removed that is here now, but the names to `keep`. For the start, when nobody is at work."""
        for path in self.path.iterdir():
            if path.name not in keep:
                self._doom(path)

    def name(self, kind: str) -> Path:
        """Return a path that nobody else has, for a file or a directory to be made."""
        return self.path / f"{kind}-{self._prefix}-{next(self._numbers)}"

    def directory(self, kind: str) -> Path:
        """Make a new, empty directory, closed to others."""
        path = self.name(kind)
        path.mkdir(mode=0o700)
        return path

    def discard(self, path: Path) -> bool:
        """Move `path` in here at once and remove it later; False if there was nothing. Raises `OSError`."""
        target = self.name("trash")
        try:
            path.rename(target)
        except FileNotFoundError:
            return False
        except PermissionError:  # chattr +i on the directory itself, or on its parent's entry
            clear_protection(str(path))
            path.rename(target)
        self._doom(target)
        return True

    def strays(self, known: Collection[str] = ()) -> list[Path]:
        """Return what nobody here has made or is about to remove, and is not `known` by its name."""
        ours = f"-{self._prefix}-"
        return [
            path
            for path in self.path.iterdir()
            if ours not in path.name and path.name not in self._doomed and path.name not in known
        ]

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until all that was discarded so far is gone, at most `timeout` seconds; tell whether it is."""
        done = threading.Event()
        self._queue.put(done)
        deadline = None if timeout is None else time.monotonic() + timeout
        while not done.wait(0.1 if deadline is None else min(0.1, max(0, deadline - time.monotonic()))):
            if not self._thread.is_alive() or (deadline is not None and time.monotonic() >= deadline):
                return done.is_set()
        return True

    def sync(self) -> None:
        """Write the file system that all this is on to its disk. Raises `OSError`."""
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syncfs(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Stop removing after the present piece; the next start goes on with the rest."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None and not self._closing.is_set():
            if isinstance(item, threading.Event):
                item.set()
                continue
            try:
                self._remove(item)
            except OSError as error:
                log.warning("cannot remove %s, the next start tries again: %s", item, error)
            self._doomed.discard(item.name)

    def _doom(self, path: Path) -> None:
        self._doomed.add(path.name)
        self._queue.put(path)

    def _remove(self, path: Path) -> None:
        """Remove `path`; where a shim that is ending still writes into it, once more when that is done."""
        for pause in PAUSES:
            try:
                if path.is_dir() and not path.is_symlink():
                    remove_tree(path, stop=self._closing.is_set)
                else:
                    path.unlink(missing_ok=True)
                return
            except Stopped:
                return
            except OSError as error:
                if error.errno != errno.ENOTEMPTY or pause is None:
                    raise
            self._closing.wait(pause)
