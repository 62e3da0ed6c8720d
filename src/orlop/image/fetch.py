"""Fetching layers: from a source's stream to a layer in its place, in one pass and in bounded memory.

The bytes go to a file (`orlop.image.partials`), and a thread follows the file: it hashes, decompresses and unpacks what
has come while the rest is still on its way. So the source is read as fast as it sends, however long unpacking takes,
and a download that broke off, even with a daemon that was killed, goes on where it ended: what is in the file is
followed from its beginning, and only the rest is asked for.

A layer that several want at once is fetched once. It belongs to none of them: it goes on as long as one waits for it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from enum import IntEnum
from typing import Protocol

from orlop.errors import Error, Internal, Unavailable
from orlop.image.compression import MAGIC_LENGTH, detect, peeked
from orlop.image.depot import Depot
from orlop.image.ingest import WrongDigest
from orlop.image.intake import LayerIntake, TakenLayer
from orlop.image.layers import chain_name, diff_name
from orlop.image.leases import Lease
from orlop.image.partials import Partial, Partials
from orlop.image.slots import Slots
from orlop.image.unpack import Limits
from orlop.model.oci.documents import Descriptor
from orlop.model.record import LayerRecord

__all__ = ["BlobStream", "Fetches", "LayerFetch", "Phase", "Source", "no_space"]

log = logging.getLogger(__name__)

_BLOCK = 1 << 20  # bytes that are written at once
_FLUSH_SECONDS = 1.0
_AT_ONCE = 8  # layers in work, those included whose download is complete
_NOTEWORTHY = 1 << 20  # bytes that make another try worth while, however often it broke off before


class BlobStream(Protocol):
    """The content of a blob from `offset` on, which is 0 where the source cannot begin later."""

    @property
    def offset(self) -> int: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...


class Source(Protocol):
    """Where blobs come from: a repository of a registry."""

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> AbstractAsyncContextManager[BlobStream]:
        """Open a blob. Raises `errors.Error` for what another try would not mend; a stream that broke off raises
        `Unavailable`, and is opened again behind what came.
        """
        ...


class Phase(IntEnum):
    """How far a layer has come."""

    WAITING = 0
    DOWNLOADING = 1
    VERIFYING = 2
    EXTRACTING = 3
    COMPLETE = 4


class Fetches:
    """The layers that are on their way to one depot. Used on one event loop.

    `slots` limits downloads, `attempts` how often one is tried that does not get on; both may be changed any time.
    """

    def __init__(
        self,
        depot: Depot,
        partials: Partials,
        *,
        concurrency: int = 3,
        attempts: int = 5,
        pause: float = 1.0,
        limits: Limits | None = None,
    ) -> None:
        self.depot = depot
        self.partials = partials
        self.limits = limits or Limits()
        self.slots = Slots(concurrency)
        self.attempts = attempts
        self.pause = pause  # seconds before the second attempt, twice as many before each further one
        self.places = Slots(_AT_ONCE)
        self.threads = ThreadPoolExecutor(_AT_ONCE, "layer-fetch")
        self._flusher: asyncio.Task[None] | None = None
        self._running: dict[str, LayerFetch] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}

    async def take(
        self, source: Source, descriptor: Descriptor, lease: Lease, joined: Callable[[LayerFetch], None]
    ) -> LayerRecord:
        """Return a layer that is in its place and held by `lease`, after fetching it if nobody does so yet.

        `joined` is given the fetch, to be watched meanwhile and to `leave` at the end in any case; while one has not
        left, others can join. Raises `errors.Error`.
        """
        while True:
            fetch = self._running.get(descriptor.digest)
            own = fetch is None
            if fetch is None:
                before = self._ending.get(descriptor.digest)
                fetch = self._running[descriptor.digest] = LayerFetch(self, source, descriptor, before)
                self._flusher = self._flusher or asyncio.create_task(self._flush(), name="flush layers")
            fetch.users += 1
            joined(fetch)
            try:
                record = await asyncio.shield(fetch.task)
            except Error:
                self._forget(fetch)
                if own:
                    raise
                log.info("the source that another pull has %s from failed, trying the own one", descriptor.digest)
                continue
            for name in fetch.names:
                lease.hold(name)
            return record

    def leave(self, fetch: LayerFetch) -> asyncio.Task[None] | None:
        """Say that one of those who want a layer does not any more; return the end of the fetch if it was the last."""
        fetch.users -= 1
        if fetch.users:
            return None
        self._forget(fetch)
        digest = fetch.descriptor.digest
        ending = self._ending[digest] = asyncio.create_task(fetch.end())
        ending.add_done_callback(lambda _: self._ended(digest, ending))
        return ending

    def users(self, digest: str) -> int:
        """Return how many want the blob `digest` at present."""
        fetch = self._running.get(digest)
        return fetch.users if fetch else 0

    def using(self, source: Source) -> list[asyncio.Task[LayerRecord]]:
        """Return what is still being fetched from `source`: others may want it."""
        return [fetch.task for fetch in self._running.values() if fetch.source is source and not fetch.task.done()]

    async def close(self) -> None:
        """Give up what is on its way; what has come stays for the next time."""
        for fetch in list(self._running.values()):
            fetch.task.cancel()
            await asyncio.gather(fetch.task, return_exceptions=True)
        await asyncio.gather(*self._ending.values())
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
        self.threads.shutdown()

    async def _flush(self) -> None:
        """Have the disk write while layers come in, so that little is left to wait for when their image is named."""
        try:
            while any(not fetch.task.done() for fetch in self._running.values()):
                await asyncio.sleep(_FLUSH_SECONDS)
                await asyncio.to_thread(self.depot.scratch.sync)
        except OSError as error:
            log.warning("layers cannot be written to the disk: %s", error)  # whoever names them is told
        finally:
            self._flusher = None

    def _forget(self, fetch: LayerFetch) -> None:
        if self._running.get(fetch.descriptor.digest) is fetch:
            del self._running[fetch.descriptor.digest]

    def _ended(self, digest: str, ending: asyncio.Task[None]) -> None:
        if self._ending.get(digest) is ending:
            del self._ending[digest]


class LayerFetch:
    """One layer on its way. Whoever watches reads the counters (bytes) and `phase`; only the fetch changes them."""

    def __init__(
        self, fetches: Fetches, source: Source, descriptor: Descriptor, before: asyncio.Task[None] | None
    ) -> None:
        self.source = source
        self.descriptor = descriptor
        self.users = 0
        self.names: list[str] = []  # of what it brought in
        self.phase = Phase.WAITING
        self.downloaded = 0
        self.retry_at = 0.0  # the loop's time; 0 while it goes on
        self._fetches = fetches
        self._digest = descriptor.parsed_digest
        self._lease = fetches.depot.leases.open()
        self._intake: LayerIntake | None = None
        self.task = asyncio.create_task(self._run(before), name=f"fetch {descriptor.digest}")

    @property
    def extracted(self) -> int:
        """The compressed bytes that are unpacked."""
        return self._intake.consumed if self._intake else 0

    async def end(self) -> None:
        """Stop if it still goes on, and let go of what it brought."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await asyncio.to_thread(self._lease.release)

    async def _run(self, before: asyncio.Task[None] | None) -> LayerRecord:
        if before is not None:
            await asyncio.wait([before])  # it has the file
        async with self._fetches.places:
            partial = await asyncio.to_thread(self._fetches.partials.open, self._digest, self.descriptor.size)
            keep = True
            try:
                return await self._complete(partial)
            except _Unusable:
                keep = False
                raise
            except OSError as error:
                keep = not no_space(error)
                raise Internal(_text(error)) from error
            finally:
                await asyncio.to_thread(partial.close, keep=keep)

    async def _complete(self, partial: Partial) -> LayerRecord:
        """Get all of the blob; if what an earlier download left was wrong, begin anew once."""
        for resumed in (partial.length > 0, False):
            try:
                return await self._pass(partial)
            except WrongDigest:
                if not resumed:
                    break
                log.warning("what was left of an earlier download of %s is damaged: beginning anew", self._digest)
                await asyncio.to_thread(partial.reset)
        raise _Unusable(f"filesystem layer verification failed for digest {self._digest}")

    async def _pass(self, partial: Partial) -> LayerRecord:
        """Download what is missing while a thread follows the file from its beginning."""
        self.downloaded = partial.length
        taking = asyncio.get_running_loop().run_in_executor(self._fetches.threads, self._take_in, partial)
        downloading = asyncio.ensure_future(self._download(partial))
        try:
            await asyncio.wait((taking, downloading), return_when=asyncio.FIRST_EXCEPTION)
            if taking.done():
                taking.result()
            await downloading
            return await taking
        finally:
            downloading.cancel()
            partial.fail(_GivenUp())
            await asyncio.gather(taking, downloading, return_exceptions=True)

    def _take_in(self, partial: Partial) -> LayerRecord:
        """Follow the file to its end, and put what it was in its place; in a thread."""
        start, read = peeked(partial.reader(), MAGIC_LENGTH)
        fetches = self._fetches
        intake = LayerIntake(fetches.depot, self._lease, detect(start), self._digest, fetches.limits, keeps=False)
        self._intake = intake
        try:
            while block := read():
                if isinstance(intake.unpacking_error, OSError):
                    raise intake.unpacking_error
                intake.feed(block)
            intake.verified()  # first: a wrong digest explains whatever else is wrong
            self.phase = Phase.EXTRACTING
            return self._settle(partial, intake.result())
        except BaseException as error:
            intake.abandon()
            if isinstance(error, (Error, OSError)) and not isinstance(error, WrongDigest):
                raise _Unusable(f"failed to register layer: {_text(error)}") from error
            raise

    def _settle(self, partial: Partial, taken: TakenLayer) -> LayerRecord:
        """Put blob and layer in their places; nothing is synced before an image names them."""
        depot = self._fetches.depot
        self._hold(str(self._digest))
        partial.link(depot.content.path(self._digest))
        if taken.directory is not None:
            # One that does not stand alone is right at the bottom of an image, where its chain id is its diff id.
            diff_id = taken.record.diff_id
            name = diff_name(diff_id) if taken.alone else chain_name(diff_id)
            self._hold(name)
            depot.layers.add(taken.directory, name)
        self.phase = Phase.COMPLETE
        return taken.record

    def _hold(self, name: str) -> None:
        self._lease.hold(name)
        self.names.append(name)

    async def _download(self, partial: Partial) -> None:
        """Download what is missing; a stream that breaks is opened again behind what came."""
        failures = 0
        while not partial.complete:
            before = partial.length
            async with self._fetches.slots:
                self.phase = Phase.DOWNLOADING
                error = await self._stream(partial)
            if error is None:
                continue
            failures = 1 if partial.length - before >= _NOTEWORTHY else failures + 1
            if failures >= self._fetches.attempts:
                raise error
            log.info("download of %s broke off, going on: %s", self._digest, error)
            await self._wait(self._fetches.pause * 2 ** (failures - 1))
        self.phase = max(self.phase, Phase.VERIFYING)

    async def _wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self.retry_at = loop.time() + seconds
        try:
            await asyncio.sleep(seconds)
        finally:
            self.retry_at = 0.0

    async def _stream(self, partial: Partial) -> Unavailable | None:
        """Take what one stream has to give; return why it broke off, if it did."""
        async with self.source.open_blob(self.descriptor, partial.length) as stream:
            skip = partial.length - stream.offset
            writer = _Writer(partial, self._fetches.partials)
            try:
                async for block in stream:
                    if skip:
                        block, skip = block[skip:], max(0, skip - len(block))
                    await writer.write(block)
                    self.downloaded += len(block)
            except Unavailable as error:
                return error
            finally:
                await writer.flush()
        return None if partial.complete else Unavailable("unexpected EOF")


class _Writer:
    """Writes blocks to a partial blob in pieces of a good size, in a thread, one piece behind the stream."""

    def __init__(self, partial: Partial, partials: Partials) -> None:
        self._partial = partial
        self._partials = partials
        self._blocks: list[bytes] = []
        self._size = 0
        self._writing: asyncio.Future[None] | None = None

    async def write(self, block: bytes) -> None:
        self._blocks.append(block)
        self._size += len(block)
        if self._size >= _BLOCK:
            await self._pass_on()

    async def flush(self) -> None:
        """Write what is left; wait until it is written."""
        await self._pass_on()
        if self._writing is not None:
            await asyncio.shield(self._writing)

    async def _pass_on(self) -> None:
        if self._writing is not None:
            await asyncio.shield(self._writing)
        blocks, self._blocks, self._size = self._blocks, [], 0
        self._writing = asyncio.ensure_future(asyncio.to_thread(self._append, blocks)) if blocks else None

    def _append(self, blocks: list[bytes]) -> None:
        data = b"".join(blocks)
        before = self._partial.length
        try:
            self._partial.append(data)
        except OSError as error:
            if not no_space(error) or not self._partials.drop():
                raise
            self._partial.append(data[self._partial.length - before :])


class _Unusable(Error):
    """The content is not what it is called, or cannot be unpacked: nobody will want the rest of it."""


class _GivenUp(Exception):
    """The download is not going on."""


def no_space(error: BaseException) -> bool:
    """Tell whether something failed because the disk is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _text(error: Exception) -> str:
    return str(error.strerror).lower() if isinstance(error, OSError) and error.strerror else str(error)
