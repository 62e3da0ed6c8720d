"""`POST /images/create?fromSrc=-`: an image of the tree in an uploaded tar (`docker import`)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from orlop.engine.images.attributes import publish
from orlop.engine.images.tag import parse_target
from orlop.engine.images.upload import Upload, host_platform
from orlop.errors import InvalidArgument
from orlop.formats import platform as platforms
from orlop.image.archive.bare import import_tree
from orlop.image.changes import apply_changes

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["import_image"]

Json = dict[str, Any]


async def import_image(
    engine: Engine,
    stream: AsyncIterator[bytes],
    *,
    repo: str = "",
    tag: str = "",
    message: str = "",
    changes: Sequence[str] = (),
    platform: str = "",
) -> AsyncIterator[Json]:
    """Make an image of the tar `stream`; yield its id as Docker's one progress message.

    `changes` are Dockerfile instructions for its configuration. Raises `InvalidArgument`, before anything is read
    if the arguments are wrong.
    """
    target = parse_target(repo, tag) if repo else None
    chosen = platforms.parse(platform, machine=os.uname().machine) if platform else host_platform()
    if chosen.os != "linux":
        raise InvalidArgument("operating system is not supported")
    config = apply_changes({}, list(changes))
    lease = engine.images.lease()
    upload = Upload(
        stream,
        lambda read, _: import_tree(
            read, engine.images.depot, lease, config=config, platform=chosen, message=message or "Imported from -"
        ),
    )
    try:
        async with aclosing(upload.progress()) as progress:
            async for _ in progress:
                pass
        record = upload.result
        if record is None:
            raise RuntimeError("the import ended without an image")
        await engine.images.add([(record, [target] if target else [])], tagged=True)
        publish(engine, "import", record.id, record.id)
        if target is not None:
            publish(engine, "tag", record.id, target.familiar())
        yield {"status": record.id}
    finally:
        await asyncio.to_thread(lease.release)
