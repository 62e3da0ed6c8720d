"""Working on an upload in a thread while its progress goes out: what `load` and `import` share."""

from __future__ import annotations

import asyncio
import errno
import platform
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Generic, TypeVar

from orlop.errors import Unavailable
from orlop.formats.platform import Platform, host
from orlop.image.apart import apart
from orlop.image.archive.progress import Report
from orlop.image.compression import Read
from orlop.image.pipe import Pipe
from orlop.linux import memory

__all__ = ["Upload", "host_platform"]

Json = dict[str, Any]
T = TypeVar("T")


def host_platform() -> Platform:
    """Return the platform of this machine."""
    return host(platform.machine())


class Upload(Generic[T]):
    """Runs ``work(read, report)`` in a thread on a stream; iterate over `progress`, then take `result`."""

    def __init__(self, stream: AsyncIterator[bytes], work: Callable[[Read, Report], T]) -> None:
        self._stream = stream
        self._work = work
        self._messages: asyncio.Queue[Json | None] = asyncio.Queue()
        self.result: T | None = None

    async def progress(self) -> AsyncGenerator[Json, None]:
        """Yield the messages of the work until it is done; to be closed if it is left. Raises what it raised."""
        loop = asyncio.get_running_loop()
        pipe = Pipe()

        def report(message: Json) -> None:
            loop.call_soon_threadsafe(self._messages.put_nowait, message)

        filling = asyncio.create_task(_filled(pipe, self._stream))
        working = apart(lambda: self._work(pipe.read, report), "image-upload")
        working.add_done_callback(lambda _: self._messages.put_nowait(None))
        try:
            while (message := await self._messages.get()) is not None:
                yield message
            self.result = await _translated(working)
        finally:
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)
            # The thread must have ended before the caller gives up what it holds.
            await asyncio.gather(working, return_exceptions=True)
            await asyncio.to_thread(memory.trim)


async def _filled(pipe: Pipe, stream: AsyncIterator[bytes]) -> None:
    try:
        await pipe.fill(stream)
    except Exception:  # noqa: BLE001 the thread that reads gets it and says what it means
        return


async def _translated(working: asyncio.Future[T]) -> T:
    try:
        return await working
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Unavailable("no space left on device") from error
        raise
