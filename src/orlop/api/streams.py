"""Answers that go on: bytes of a log, archives, JSON lines of events, statistics and progress.

The head goes out before the first piece, so that a client knows that it is listening. A piece is fetched only when the
one before has left: a client that does not read holds up its own call and nothing else. When a client goes, its call
is cancelled at whatever it waits for, and the source is closed. An error after the head is told in the stream.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any

import msgspec

from orlop.api.call import JSON, Answer, Call
from orlop.errors import Error

__all__ = ["send_archive", "send_blocks", "send_json_lines", "send_progress"]

log = logging.getLogger(__name__)


async def send_blocks(
    call: Call, blocks: AsyncIterator[bytes], content_type: str, failure: Callable[[str], bytes]
) -> Answer:
    """Send `blocks` as they come; `failure` makes the last one of an error's message."""
    try:
        response = await call.start(content_type)
        try:
            async for block in blocks:
                await response.write(block)
        except Error as error:
            await response.write(failure(error.message))
        await response.write_eof()
    finally:
        await _close(blocks)
    return response


async def send_archive(call: Call, blocks: AsyncIterator[bytes], content_type: str) -> Answer:
    """Send a file; an error before its first block is an ordinary answer.

    After that it breaks the connection off: an archive that is not whole must not look as if it were.
    """
    try:
        first = await anext(blocks, b"")
        response = await call.start(content_type)
        await response.write(first)
        async for block in blocks:
            await response.write(block)
        await response.write_eof()
    finally:
        await _close(blocks)
    return response


async def send_json_lines(
    call: Call, values: AsyncIterable[Any], shape: Callable[[Any], Any] | None = None, content_type: str = JSON
) -> Answer:
    """Send one JSON document a line; `shape` makes it of a value, or drops the value (None)."""
    try:
        response = await call.start(content_type)
        async for value in values:
            document = shape(value) if shape else value
            if document is not None:
                await response.write(msgspec.json.encode(document) + b"\n")
        await response.write_eof()
    finally:
        await _close(values)
    return response


async def send_progress(call: Call, values: AsyncIterator[Any], *, early_errors: bool) -> Answer:
    """Send progress messages, with Docker's line ends; an error ends the stream as its last message.

    With `early_errors` an error that comes before the first message is an ordinary answer. None is no message, but
    begins the answer.
    """
    response = None if early_errors else await call.start(JSON)
    try:
        async for value in values:
            response = response or await call.start(JSON)
            if value is not None:
                await response.write(msgspec.json.encode(value) + b"\r\n")
    except Error as error:
        if response is None:
            raise
        await response.write(_failure(error.message))
    except Exception as error:
        if response is None or isinstance(error, ConnectionError):
            raise
        log.exception("%s failed in mid-stream", call)
        await response.write(_failure(str(error)))
    finally:
        await _close(values)
    response = response or await call.start(JSON)
    await response.write_eof()
    return response


def _failure(message: str) -> bytes:
    return msgspec.json.encode({"errorDetail": {"message": message}, "error": message}) + b"\r\n"


async def _close(source: Any) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()
