"""Carries the plain bytes of a TLS connection through a socket pair, so that a stream is always a descriptor.

One end of the pair is given away (to a shim, in the end); the other is a `Relay`'s. Each direction ends by itself, and
neither side is read faster than the other one takes what came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

__all__ = ["Relay"]


class Relay(asyncio.Protocol):
    """The daemon's end of the pair, beside the transport of the client."""

    def __init__(self, client: asyncio.Transport, release: Callable[[], None]) -> None:
        """Join the pair with `client`; `release` is called before the client's transport is closed."""
        self._client = client
        self._release = release
        self._pair: asyncio.Transport | None = None
        self.closed = asyncio.Event()

    def feed(self, data: bytes) -> None:
        """Take what the client sent."""
        if self._pair is not None:
            self._pair.write(data)

    def feed_eof(self) -> None:
        """The client sends no more."""
        if self._pair is not None and not self._pair.is_closing():
            self._pair.write_eof()

    def lost(self) -> None:
        """The client is gone."""
        if self._pair is not None:
            self._pair.abort()
        self.closed.set()

    def pause(self) -> None:
        """The client does not read: neither do we."""
        if self._pair is not None:
            self._pair.pause_reading()

    def resume(self) -> None:
        if self._pair is not None:
            self._pair.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pair = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def eof_received(self) -> bool:
        return False  # the other end is closed: what was read goes to the client, then `connection_lost` ends it

    def connection_lost(self, exc: Exception | None) -> None:
        self._pair = None
        self._release()
        self._client.close()

    def pause_writing(self) -> None:
        self._client.pause_reading()

    def resume_writing(self) -> None:
        if not self._client.is_closing():
            self._client.resume_reading()
