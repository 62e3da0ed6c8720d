"""Stages: a stream of blocks that several threads read at once, each at its own work.

Hashing, compressing and writing release the interpreter's lock, so that stages run side by side. Each has a bounded
queue: the producer waits for the slowest, and memory stays bounded. A stage that fails swallows what follows, and its
error is raised by `Stage.result`; the producer asks `failed` when it wants to stop early. What comes in one block is
not worth a thread: whoever asks for the result does the work.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, TypeVar

from orlop.image.compression import Read

__all__ = ["Stage", "ahead"]

T = TypeVar("T")


class Stage(Generic[T]):
    """A thread that runs ``work(read)``, where `read` gives the blocks that were `put`. One producer uses it."""

    def __init__(self, name: str, work: Callable[[Read], T], depth: int = 32) -> None:
        self._work = work
        self._queue: queue.Queue[bytes | memoryview] = queue.Queue(depth)
        self._result: T | None = None
        self._error: BaseException | None = None
        self._ended = False  # the end has been read
        self._finished = False
        self._worked = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def failed(self) -> bool:
        return self._error is not None

    @property
    def error(self) -> BaseException | None:
        """What it failed of, if it has."""
        return self._error

    def put(self, block: bytes | memoryview) -> None:
        """Give the stage its next block; wait while its queue is full."""
        if not block:
            return
        if self._queue.qsize():
            self._start()
        self._queue.put(block)

    def finish(self) -> None:
        """Say that nothing follows."""
        if not self._finished:
            self._finished = True
            if self._queue.full():
                self._start()
            self._queue.put(b"")

    def result(self) -> T:
        """Wait for the end of the work; return its result or raise its error."""
        self.abandon()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value] # set where there is no error

    def abandon(self) -> None:
        """Wait for the end of the work, whatever becomes of it."""
        self.finish()
        if self._thread.ident is not None:
            self._thread.join()
        elif not self._worked:
            self._run()

    def _start(self) -> None:
        if self._thread.ident is None:
            self._thread.start()

    def _read(self) -> bytes | memoryview:
        if self._ended:
            return b""
        block = self._queue.get()
        self._ended = not block
        return block

    def _run(self) -> None:
        self._worked = True
        try:
            self._result = self._work(self._read)
        except BaseException as error:  # noqa: BLE001 it is raised where the result is asked for
            self._error = error
        while self._read():
            pass


@contextmanager
def ahead(read: Read, name: str, depth: int = 4) -> Iterator[Read]:
    """Let a thread of its own read a stream up to `depth` blocks ahead; give the stream that follows it.

    What `read` raises is raised there. When the block is left, at the end of the stream or before, the thread has
    ended: it reads one more block at most.
    """
    blocks: queue.Queue[bytes | memoryview | BaseException] = queue.Queue(depth)
    left = threading.Event()
    ended = False

    def work() -> None:
        try:
            block: bytes | memoryview = b"."
            while block and not left.is_set():
                block = read()
                blocks.put(block)
        except BaseException as error:  # noqa: BLE001 it is raised where the stream is read
            blocks.put(error)

    def follow() -> bytes | memoryview:
        nonlocal ended
        if ended:
            return b""
        block = blocks.get()
        if isinstance(block, BaseException):
            raise block
        ended = not block
        return block

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield follow
    finally:
        left.set()
        with suppress(queue.Empty):
            while True:
                blocks.get_nowait()
        thread.join()
