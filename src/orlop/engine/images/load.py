"""`POST /images/load`: images from an archive, as `docker save` writes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from orlop.engine.images.attributes import publish
from orlop.engine.images.upload import Upload, host_platform
from orlop.formats.platform import parse_json
from orlop.image.archive.load import Loaded, load_archive

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["load"]

Json = dict[str, Any]


async def load(
    engine: Engine, stream: AsyncIterator[bytes], *, quiet: bool = True, platform: str = ""
) -> AsyncIterator[Json]:
    """Load every image of the archive `stream`; yield Docker's progress messages.

    `platform` is the JSON of the one platform that is wanted. All images become visible in one transaction at the
    end, or, when anything is wrong (raised, after the messages so far), none does.
    """
    wanted = parse_json(platform) if platform else None
    host = host_platform()
    lease = engine.images.lease()
    upload = Upload(
        stream,
        lambda read, report: load_archive(
            read, engine.images.depot, lease, host=host, wanted=wanted, report=None if quiet else report
        ),
    )
    try:
        async with aclosing(upload.progress()) as progress:
            async for message in progress:
                yield message
        loaded = upload.result or []
        messages = _messages(engine, loaded)
        await engine.images.add([(image.record, image.names) for image in loaded])
        for image in loaded:
            publish(engine, "load", image.record.id, image.record.id)
        for text in messages:
            yield {"stream": text}
    finally:
        await asyncio.to_thread(lease.release)


def _messages(engine: Engine, loaded: list[Loaded]) -> list[str]:
    """Say what happens: Docker's lines, each with its newline."""
    messages: list[str] = []
    moved: dict[str, str] = {}
    for image in loaded:
        for name in image.names:
            familiar = name.familiar()
            previous = moved.get(familiar) or engine.images.lookup(name)
            moved[familiar] = image.record.id
            if previous is not None and previous != image.record.id:
                messages.append(
                    f"The image {familiar} already exists, renaming the old one with ID {previous} to empty string\n"
                )
            messages.append(f"Loaded image: {familiar}\n")
    if not messages:
        messages = ["".join(f"Loaded image ID: {image.record.id}\n" for image in loaded)]
    return messages
