"""`POST /images/{name}/push`: an image, or all tags of a repository, to a registry (`docker push`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orlop.engine.images import registries
from orlop.engine.images.attributes import labels_of, publish
from orlop.engine.images.outgoing import Outgoing, Pushed
from orlop.engine.images.push_progress import INTERVAL, Progress
from orlop.errors import InvalidArgument, NotFound
from orlop.formats import platform as platforms
from orlop.formats import reference as references
from orlop.formats.platform import Platform, choose
from orlop.formats.reference import Reference

if TYPE_CHECKING:
    from orlop.engine.engine import Engine
    from orlop.registry.client.repository import Repository

__all__ = ["push"]

Json = dict[str, Any]
Messages = AsyncGenerator[Json, None]


async def push(engine: Engine, name: str, *, tag: str = "", platform: str = "", auth: str = "") -> Messages:
    """Push `name`; yield Docker's progress messages.

    Without a `tag`, in the name or beside it, all tags of the repository are pushed. `platform` (JSON) is the one that
    the image must be for; `auth` is the ``X-Registry-Auth``. Raises `errors.Error`: for a request that makes no sense
    before the first message, for everything else after it.
    """
    target = _parse_target(name, tag)
    if platform:
        _check_platform(engine, target, platforms.parse_json(platform))
    yield {"status": f"The push refers to repository [{target.name}]"}
    names = _names(engine, target)
    async with registries.client(engine, registries.optional_credentials(auth)) as client:
        await client.ping(target.domain)  # it is told of a registry that is not there before anything is prepared
        repository = client.repository(target)
        for each in names:
            async with aclosing(_push_one(engine, repository, each)) as messages:
                async for message in messages:
                    yield message
    labels = labels_of(engine, engine.images.resolve(names[0].canonical())) if target.tag else {}
    publish(engine, "push", target.familiar(), target.familiar_name, labels)


def _parse_target(name: str, tag: str) -> Reference:
    """Return the name that is pushed; without a tag all of them are meant. Raises `InvalidArgument`."""
    target = references.parse(name)
    if tag:
        return replace(target, tag=references.check_tag(tag), digest=None)
    if target.digest is not None:
        raise InvalidArgument("cannot push a digest reference")
    return target


def _check_platform(engine: Engine, target: Reference, wanted: Platform) -> None:
    record = engine.images.resolve(target.tagged().canonical())
    if choose(wanted, [Platform(record.os, record.architecture, record.variant)]) is None:
        raise NotFound(
            f"image with reference {target.familiar()} was found but does not provide the specified platform ({wanted})"
        )


def _names(engine: Engine, target: Reference) -> list[Reference]:
    """Return the names that are to be pushed, sorted. Raises `NotFound`."""
    found = sorted(
        name for names in engine.images.references_by_image().values() for name in names if name.name == target.name
    )
    if not found:
        raise NotFound(f"An image does not exist locally with the tag: {target.familiar_name}")
    if target.tag:
        if target not in found:
            raise NotFound(f"tag does not exist: {target.familiar()}")
        return [target]
    return [name for name in found if name.digest is None]


async def _push_one(engine: Engine, repository: Repository, target: Reference) -> Messages:
    """Push the image that has the name `target`."""
    record = engine.images.resolve(target.canonical())
    lease = engine.images.lease()
    try:
        outgoing = Outgoing(engine, repository, target, record, lease)
        async with aclosing(_watched(outgoing)) as messages:
            async for message in messages:
                if isinstance(message, Pushed):
                    digest, size = str(message.digest), message.size
                    yield {"status": f"{target.tag}: digest: {digest} size: {size}"}
                    yield {"progressDetail": {}, "aux": {"Tag": target.tag, "Digest": digest, "Size": size}}
                else:
                    yield message
    finally:
        await asyncio.to_thread(lease.release)


async def _watched(outgoing: Outgoing) -> AsyncGenerator[Json | Pushed, None]:
    """Run a push; yield what is new of it until it is done, and what came of it. It ends with this."""
    progress = Progress(outgoing.rows)
    running = asyncio.create_task(outgoing.run())
    try:
        while not running.done():
            for message in progress.news():
                yield message
            await asyncio.wait([running], timeout=INTERVAL)
        for message in progress.news():
            yield message
        yield running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
