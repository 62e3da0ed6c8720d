"""Threads that write small files, while whoever has them reads on."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Writers"]

T = TypeVar("T")

_WAITING = 64  # items
_THREADS = max(2, min(4, os.cpu_count() or 1))


class Writers(Generic[T]):
    """Threads that do `work` on items, in no order. Used by one thread, which closes it in any case."""

    def __init__(self, work: Callable[[T], None]) -> None:
        self._work = work
        self._queue: queue.Queue[tuple[T] | None] = queue.Queue(_WAITING)
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None

    def add(self, item: T) -> None:
        """Have an item worked on; wait while many are. Raises what the work on an earlier one has raised."""
        self._check()
        if len(self._threads) < _THREADS:
            thread = threading.Thread(target=self._run, name="context-files", daemon=True)
            thread.start()
            self._threads.append(thread)
        self._queue.put((item,))

    def settle(self) -> None:
        """Wait until all items are done. Raises what the work on one has raised."""
        self._queue.join()
        self._check()

    def close(self) -> None:
        """End the threads; after an error what still waits is not worked on."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                if self._error is None:
                    self._work(item[0])
            except BaseException as error:  # noqa: BLE001 it is raised where items are added
                self._error = error
            finally:
                self._queue.task_done()
        self._queue.task_done()
