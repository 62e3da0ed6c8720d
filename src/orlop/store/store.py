"""The store: all metadata, in one SQLite database in write-ahead mode.

A write is a function that is given a `Transaction`. One thread owns the writing connection; the writes that arrive
while it commits share the next commit, so that one fsync pays for all that wait. Each of them runs in a savepoint of
its own: if one raises, it alone is undone. A write is in the database when its `await` returns, and, if it is
`durable`, on the disk. If the commit fails (the disk is full), every write in it is undone and raises
`errors.Unavailable`: what was there before is still there. Writes that make room are then tried again with the space
of a reserve.

Reads see committed data only, on a connection and thread of their own, so that they never wait for a commit.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from orlop.errors import Error, Internal, Unavailable
from orlop.store.reserve import Reserve
from orlop.store.schema import migrate
from orlop.store.transaction import Transaction

__all__ = ["Store"]

T = TypeVar("T")
_WAL_LIMIT = 4 << 20  # bytes that the write-ahead log keeps once it has been copied into the database


class _DiskFull(Unavailable):
    """SQLite found no space for a write."""


@dataclass(slots=True)
class _Write(Generic[T]):
    function: Callable[[Transaction], T]
    durable: bool
    frees: bool
    future: asyncio.Future[T]
    result: T | None = None
    error: BaseException | None = None


class Store:
    """The metadata database. `open` makes one; all methods are called on one event loop."""

    def __init__(self, path: Path, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._writer = writer
        self._reader = reader
        self._full_sync: bool | None = None
        self._reserve = Reserve(path.with_name(path.name + "-reserve"))
        self._queue: SimpleQueue[_Write[Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write_loop, name="store-writer", daemon=True)
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._closed = False
        self._thread.start()

    @classmethod
    async def open(cls, path: Path) -> Store:
        """Open the database at `path`, make it if there is none, bring it up to date if it is older.

        Raises `errors.Unavailable` when the disk does not allow it and `errors.Internal` for a database that is
        damaged or was written by a newer version.
        """
        writer, reader = await asyncio.to_thread(_open, path)
        return cls(path, writer, reader)

    async def write(self, function: Callable[[Transaction], T], durable: bool = True, frees: bool = False) -> T:
        """Run `function` in a transaction and return what it returns, when that is committed.

        It runs in the store's thread and must not wait for anything. What it raises is raised here and nothing of it
        is kept. A write that is not `durable` survives a crash of the daemon but perhaps not a power cut; the
        database is consistent in any case. `frees` says that it lets space be freed: it succeeds on a full disk, too. A
        caller that is cancelled does not undo its write.
        """
        if self._closed:
            raise Unavailable("the metadata store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Write(function, durable, frees, future))
        return await future

    async def read(self, function: Callable[[Transaction], T]) -> T:
        """Run `function` on a consistent view of what is committed, and return what it returns."""
        if self._closed:
            raise Unavailable("the metadata store is closed")
        return await self._loop.run_in_executor(self._readers, self._read, function)

    async def close(self) -> None:
        """Finish what was asked and close the database."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        self._thread.join()
        self._readers.shutdown()
        self._reader.close()
        self._writer.close()  # the last connection copies the log into the database and removes it

    # What follows runs in the store's threads.

    def _read(self, function: Callable[[Transaction], T]) -> T:
        try:
            self._reader.execute("BEGIN")
            try:
                return function(Transaction(self._reader))
            finally:
                self._reader.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise _translate(error, self._path) from error

    def _write_loop(self) -> None:
        self._reserve.renew()
        more = True
        while more:
            batch, more = self._next_batch()
            if batch:
                self._commit(batch)
                self._loop.call_soon_threadsafe(_settle, batch)

    def _next_batch(self) -> tuple[list[_Write[Any]], bool]:
        """Wait for a write; return it with all that have gathered behind it, and whether more may come."""
        batch: list[_Write[Any]] = []
        item = self._queue.get()
        try:
            while item is not None:
                batch.append(item)
                item = self._queue.get_nowait()
        except Empty:
            return batch, True
        return batch, False

    def _commit(self, batch: list[_Write[Any]]) -> None:
        self._attempt(batch)
        again = [write for write in batch if write.frees and isinstance(write.error, _DiskFull)]
        if again and self._reserve.release():
            for write in again:
                write.error = None
            self._attempt(again)
        self._reserve.renew()

    def _attempt(self, batch: list[_Write[Any]]) -> None:
        try:
            self._set_sync(any(write.durable for write in batch))
            self._writer.execute("BEGIN IMMEDIATE")
            for write in batch:
                self._apply(write)
            self._writer.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 those that wait get it, and this thread must go on
            for write in batch:
                write.error = write.error or (
                    _translate(error, self._path) if isinstance(error, sqlite3.Error) else Internal(str(error))
                )
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")

    def _apply(self, write: _Write[Any]) -> None:
        """Run one write in its savepoint. Raises only when the whole transaction is lost."""
        self._writer.execute("SAVEPOINT one")
        try:
            write.result = write.function(Transaction(self._writer))
        except BaseException as error:
            if not self._writer.in_transaction:  # SQLite gives up all of it when the disk is full or fails
                raise
            write.error = _translate(error, self._path) if isinstance(error, sqlite3.Error) else error
            self._writer.execute("ROLLBACK TO one")
        self._writer.execute("RELEASE one")

    def _set_sync(self, full: bool) -> None:
        """Choose whether a commit waits for the disk; in write-ahead mode NORMAL never does, and stays consistent."""
        if self._full_sync != full:
            self._writer.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            self._full_sync = full


def _settle(batch: list[_Write[Any]]) -> None:
    for write in batch:
        if write.future.cancelled():
            continue
        if write.error is not None:
            write.future.set_exception(write.error)
        else:
            write.future.set_result(write.result)


def _open(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    connections: list[sqlite3.Connection] = []
    try:
        path.touch(mode=0o600)
        for _ in range(2):
            connections.append(sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10))
        writer, reader = connections
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
        migrate(writer)
        reader.execute("PRAGMA query_only = ON")
    except BaseException as error:
        for connection in connections:
            connection.close()
        if isinstance(error, OSError):
            raise Unavailable(f"cannot open the metadata database {path}: {error.strerror}") from error
        if isinstance(error, sqlite3.Error):
            raise _translate(error, path) from error
        raise
    return writer, reader


def _translate(error: sqlite3.Error, path: Path) -> Error:
    name = getattr(error, "sqlite_errorname", "") or ""
    match name.removeprefix("SQLITE_").split("_")[0]:
        case "FULL":
            return _DiskFull(f"no space left on device: the metadata database {path} cannot be written")
        case "IOERR" | "CANTOPEN" | "READONLY" | "BUSY" | "LOCKED" | "PROTOCOL":
            return Unavailable(f"the metadata database {path} cannot be used: {error} ({name})")
        case "CORRUPT" | "NOTADB":
            return Internal(f"the metadata database {path} is damaged: {error}")
    return Internal(f"the metadata database {path} failed: {error}")
