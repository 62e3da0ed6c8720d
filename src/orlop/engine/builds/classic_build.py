"""`POST /build`: a build as classic clients ask for it, and the stream that they read."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, aclosing
from dataclasses import replace
from platform import machine
from typing import TYPE_CHECKING, Any

from orlop.build.progress import Finished, Warned
from orlop.engine.builds.classic import ClassicStream
from orlop.engine.builds.credentials import Keyring
from orlop.engine.builds.requests import ClassicBuild, Fields, classic_build
from orlop.engine.builds.sources import Source, classic_source
from orlop.errors import Error

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["build"]

Json = dict[str, Any]

_KEPT = 10_000  # messages of a quiet build, which are shown if it fails


async def build(
    engine: Engine, fields: Fields, body: AsyncIterator[bytes] | None, *, registries: str = ""
) -> AsyncGenerator[Json | None, None]:
    """Build what the query asks for of the context in `body`, or of the remote one; yield the messages.

    None says that the build has begun, from where on it tells of its errors itself; before, they are raised.
    `registries` is the ``X-Registry-Config``.
    """
    asked = classic_build(fields, machine())
    with ExitStack() as stack:
        source = await classic_source(engine, asked, body, stack)
        async with aclosing(_built(engine, asked, source, Keyring.parse(registries))) as messages:
            async for message in messages:
                yield message


async def _built(
    engine: Engine, asked: ClassicBuild, source: Source, keyring: Keyring
) -> AsyncGenerator[Json | None, None]:
    request = replace(asked.request, dockerfile=source.dockerfile, dockerfile_name=source.path)
    stream = ClassicStream(remove=asked.remove, force_remove=asked.force_remove)
    records = engine.builds.records(request, source.contexts, id=asked.id, keyring=keyring, planned=stream.planned)
    unsaid: deque[Json] = deque(maxlen=_KEPT)
    begun = False
    try:
        async with aclosing(records):
            async for record in records:
                if not begun and not isinstance(record, Warned):
                    begun = True
                    yield None
                if not asked.quiet:
                    for message in stream.feed(record):
                        yield message
                elif isinstance(record, Finished):
                    yield {"stream": f"{record.image}\n"}
                else:
                    unsaid.extend(stream.feed(record))
    except Error as error:
        if not begun:
            raise
        for message in (*unsaid, *stream.failed(error)):
            yield message
