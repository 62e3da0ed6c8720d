"""Reading a container's log journal: what `docker logs` shows, while the shim writes on.

The journal is read in blocks in a thread; the records of a block become stream frames by leaving their times out
(`formats.journal.frames`), so that the work is per block and record, and per line only where lines were asked for.
A block is read when the one before was taken: a reader that stops costs a block of memory and no work.
"""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from orlop.formats import journal
from orlop.formats.journal import Span
from orlop.runtime.log_files import LogFile, LogFiles
from orlop.runtime.log_window import FOREVER, LineCounter, Window
from orlop.runtime.watch import DirectoryWatch, watching

__all__ = ["LogQuery", "LogReader", "details_prefix", "read_logs"]

_log = logging.getLogger(__name__)
_FRAME = struct.Struct(">BxxxI")
_SECOND = 1_000_000_000
_CLOCK_SLACK = _SECOND  # a file's time of change is that of the kernel's last tick


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What part of a log is wanted, and how it is shown.

    `tail` counts lines (None: all). `details` stands in front of each line, see `details_prefix`. Times in ns since
    the epoch; with `until_ns` None there is no end.
    """

    stdout: bool = True
    stderr: bool = True
    since_ns: int = 0
    until_ns: int | None = None
    tail: int | None = None
    timestamps: bool = False
    details: str = ""
    follow: bool = False


def details_prefix(attributes: Mapping[str, str]) -> str:
    """Return what ``--details`` puts in front of a line: sorted attributes, escaped as in a URL's query, a space."""
    return ",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(attributes.items())) + " "


async def read_logs(
    directory: str, options: LogQuery, tty: bool, follow_until: asyncio.Future[Any] | None = None
) -> AsyncGenerator[bytes, None]:
    """Yield the log in blocks of whole stream frames (raw bytes with `tty`).

    With ``options.follow`` it goes on until `follow_until` is done (at once if it is None: nothing writes) and what
    was written until then has been given, or until ``options.until_ns``. Without, it ends where the log ended when
    the first block was read.
    """
    reader = LogReader(directory, options, tty)
    loop = asyncio.get_running_loop()
    try:
        if not options.follow or follow_until is None:
            while block := await loop.run_in_executor(None, reader.next):
                yield block
            return
        with watching(directory) as watch:
            while True:
                finished = follow_until.done()
                changed = _arm(watch)
                if block := await loop.run_in_executor(None, reader.next):
                    yield block
                elif finished or changed is None or reader.ended or not await _wait(changed, follow_until, options):
                    return
    finally:
        reader.close()


def _arm(watch: DirectoryWatch) -> asyncio.Future[None] | None:
    try:
        return watch.arm()
    except FileNotFoundError:  # the container was removed
        return None


async def _wait(changed: asyncio.Future[None], done: asyncio.Future[Any], options: LogQuery) -> bool:
    """Wait for more to read or for the end of the writer; False when the time asked for is over."""
    timeout = None if options.until_ns is None else (options.until_ns - time.time_ns()) / _SECOND
    if timeout is not None and timeout <= 0:
        return False
    await asyncio.wait((changed, done), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    return True


class LogReader:
    """The blocking half: `next` gives a block at a time, and is called in threads, by one at a time."""

    def __init__(self, directory: str, query: LogQuery, tty: bool) -> None:
        self._directory = directory
        self._query = query
        self._streams = tuple(
            stream
            for stream, wanted in ((journal.STDOUT, query.stdout), (journal.STDERR, query.stderr))
            if wanted or (tty and query.stdout)
        )
        until = FOREVER if query.until_ns is None else query.until_ns
        self._window = Window(self._streams, query.since_ns, until)
        self._format = _Format(query, framed=not tty)
        self._files: LogFiles | None = None
        self._lock = threading.Lock()
        self._closed = False

    @property
    def ended(self) -> bool:
        """Whether `next` will never give anything again."""
        return self._window.ended

    def next(self) -> bytes:
        """Return the next block, b"" when nothing (more) is there now."""
        try:
            with self._lock:
                return b"" if self._closed else self._next()
        finally:
            if self._closed:
                self.close()

    def close(self) -> None:
        """Close the files, now or when the `next` that runs in another thread returns."""
        self._closed = True
        if self._lock.acquire(blocking=False):
            try:
                if self._files is not None:
                    self._files.close()
            finally:
                self._lock.release()

    def _next(self) -> bytes:
        if self._files is None:
            self._files = LogFiles(self._directory)
            self._seek(self._files)
        files = self._files
        while not self._window.ended:
            if not files.files:
                if not self._query.follow or not files.extend():
                    break
                continue
            file = files.files[0]
            data = self._read(file)
            if data:
                if block := self._transform(file, data):
                    return block
            elif len(files.files) > 1:
                files.drop(file)
            elif not self._query.follow or not files.extend():
                break
        return b""

    def _read(self, file: LogFile) -> bytes:
        try:
            return file.read(file.position, FOREVER if self._query.follow else file.size)
        except journal.DamagedJournal as error:
            _log.warning("log of %s is damaged at byte %d: %s", self._directory, file.position, error)
            file.position = FOREVER
            return b""

    def _transform(self, file: LogFile, data: bytes) -> bytes:
        if self._window.open and len(self._streams) == 2 and self._format.plain_frames:
            frames, consumed = journal.frames(data)
            file.position += consumed
            return b"".join(frames)
        spans, consumed = journal.spans(data)
        file.position += consumed
        return self._format.block(data, self._window.select(data, spans))

    def _seek(self, files: LogFiles) -> None:
        """Go to where the wanted part may start: leave out what is too old, and find the last lines."""
        query = self._query
        while len(files.files) > 1 and files.files[0].modified + _CLOCK_SLACK < query.since_ns:
            files.drop(files.files[0])
        if query.tail is None or query.tail < 0:
            return
        cut = _seek_back(files, self._streams, query.tail)
        until = FOREVER if query.until_ns is None else query.until_ns
        window, counter = Window(self._streams, query.since_ns, until, cut=cut), LineCounter()
        for file in files.files:
            for _position, data, spans in _blocks(file, file.position):
                counter.add(data, window.select(data, spans))
        skip = max(0, counter.lines - query.tail)
        self._window = Window(self._streams, query.since_ns, until, skip, cut)


def _seek_back(files: LogFiles, streams: tuple[int, ...], lines: int) -> bool:
    """Move to a block from which on at least `lines` lines start; False if that is the start of everything.

    A block can start within a line of each stream, which does not count then.
    """
    found = 0
    for file in reversed(files.files):
        marks = []
        for position, data, spans in _blocks(file, 0):
            marks.append((position, sum(data.count(b"\n", s, e) for stream, _, s, e in spans if stream in streams)))
        for position, newlines in reversed(marks):
            found += newlines
            file.position = position
            if found >= lines + len(streams) and (position or file is not files.files[0]):
                while files.files[0] is not file:
                    files.drop(files.files[0])
                return True
    return False


def _blocks(file: LogFile, position: int) -> Iterator[tuple[int, bytes, list[Span]]]:
    """Yield position, bytes and records of the blocks of what a file held when it was opened."""
    while True:
        try:
            data = file.read(position, file.size)
        except journal.DamagedJournal:
            return  # said when it is read for good
        if not data:
            return
        spans, consumed = journal.spans(data)
        yield position, data, spans
        position += consumed


class _Format:
    """Makes the bytes for the client out of pieces of the journal."""

    def __init__(self, query: LogQuery, framed: bool) -> None:
        self._framed = framed
        self._timestamps = query.timestamps
        self._details = query.details.encode()
        self._unterminated: set[int] = set()
        self._second = -1
        self._second_text = ""
        self.plain_frames = framed and not query.timestamps and not query.details

    def block(self, data: bytes, spans: list[Span]) -> bytes:
        """Return the frames of `spans` of `data` (their bytes alone for a terminal), with what stands before lines."""
        parts: list[bytes | memoryview] = []
        view = memoryview(data)
        prefixed = self._timestamps or self._details
        for stream, when, start, end in spans:
            text: bytes | memoryview = view[start:end]
            if prefixed:
                text = self._prefixed(stream, when, data[start:end])
            if self._framed:
                parts.append(_FRAME.pack(stream, len(text)))
            parts.append(text)
        return b"".join(parts)

    def _prefixed(self, stream: int, when: int, text: bytes) -> bytes:
        prefix = (self._timestamp(when) if self._timestamps else b"") + self._details
        result = text[:-1].replace(b"\n", b"\n" + prefix) + text[-1:]
        if stream not in self._unterminated:
            result = prefix + result
        if text.endswith(b"\n"):
            self._unterminated.discard(stream)
        else:
            self._unterminated.add(stream)
        return result

    def _timestamp(self, when: int) -> bytes:
        """Return the RFC 3339 time with nine digits, and a space."""
        second, fraction = divmod(when, _SECOND)
        if second != self._second:
            self._second, self._second_text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{fraction:09d}Z ".encode()
