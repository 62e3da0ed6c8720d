"""`/orlop/build`: builds as `orlop build` asks for them, whose progress is the records themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, aclosing
from platform import machine
from typing import TYPE_CHECKING, Any

from orlop.build.dockerfile.outline import outline, targets
from orlop.build.progress import Finished
from orlop.engine.builds.build import checked, parsed
from orlop.engine.builds.credentials import Keyring
from orlop.engine.builds.known_images import bases_here
from orlop.engine.builds.requests import own_build
from orlop.engine.builds.sources import Source, own_source
from orlop.formats.duration import format_rfc3339
from orlop.model.api.build import BuildCreate

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["build", "create_context", "kept", "receive_files", "unpack_context"]

Json = dict[str, Any]


async def build(engine: Engine, body: BuildCreate, *, registries: str = "") -> AsyncGenerator[Any, None]:
    """Build what `body` asks for; yield the records, of which the last is `Finished`.

    Raises `errors.Error` before the first record. Of a ``call`` other than ``build`` nothing is built: ``check`` yields
    the warnings, the others a document.
    """
    with ExitStack() as stack:
        source = await own_source(engine, body, stack)
        async with aclosing(_built(engine, body, source, Keyring.parse(registries))) as records:
            async for record in records:
                yield record


async def _built(engine: Engine, body: BuildCreate, source: Source, keyring: Keyring) -> AsyncGenerator[Any, None]:
    named = {name: "context" if name in source.contexts else value for name, value in (body.contexts or {}).items()}
    request = own_build(body, source.dockerfile, named, machine())
    if request.check or body.call != "build":
        dockerfile = await asyncio.to_thread(parsed, request)
        if body.call == "outline":
            yield outline(dockerfile, request.target, request.arguments)
        elif body.call == "targets":
            yield targets(dockerfile)
        else:
            for warning in await asyncio.to_thread(checked, dockerfile, request, bases_here(engine, request)):
                yield warning
            yield Finished()
        return
    records = engine.builds.records(request, source.contexts, id=body.id, keyring=keyring, told=True)
    async with aclosing(records):
        async for record in records:
            yield record


async def create_context(engine: Engine, body: AsyncIterator[bytes]) -> Json:
    """Take the list of what is in a context; return its id, and the digests of the files that are not here yet."""
    id, missing = await engine.builds.contexts.announce(body)
    return {"Id": id, "Missing": missing}


async def unpack_context(engine: Engine, body: AsyncIterator[bytes]) -> Json:
    """Take a context as a tar; return its id, and that nothing is missing. Raises `InvalidArgument`."""
    return {"Id": await engine.builds.contexts.unpack(body), "Missing": []}


async def receive_files(engine: Engine, id: str, body: AsyncIterator[bytes]) -> None:
    """Take files that were missing. Raises `NotFound` for a context that is not known."""
    await engine.builds.contexts.receive(id, body)


def kept(engine: Engine) -> list[Json]:
    """Return the file systems that were kept of steps, the oldest first."""
    return [
        {
            "Id": step.id,
            "Command": list(step.node.arguments),
            "ExitCode": step.code,
            "KeptAt": format_rfc3339(step.kept_at),
        }
        for step in engine.builds.kept.all()
    ]
