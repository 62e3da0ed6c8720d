"""Uploads of blobs: at once, in chunks, taken up again; and mounts, which save them."""

from __future__ import annotations

import asyncio

from aiohttp.web_response import StreamResponse

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.formats.reference import is_path
from orlop.registry.server.call import Call, empty
from orlop.registry.server.failure import Failure
from orlop.registry.server.paths import digest_of
from orlop.registry.server.ranges import Chunk, parse_chunk
from orlop.registry.storage.storage import Upload

__all__ = ["begin", "cancel", "finish", "status", "write"]

_USUAL_ALGORITHM = "sha256"


async def begin(call: Call) -> StreamResponse:
    """``POST /v2/<name>/blobs/uploads/``: mount a blob, upload one with this very request, or begin an upload."""
    target = call.target
    if (mounted := await _mount(call, target.parameter("mount"), target.parameter("from"))) is not None:
        return _created(call, mounted)
    given = target.parameter("digest")
    if given is None:
        upload = await call.repository.begin_upload(_algorithm(target.parameter("digest-algorithm")))
        return empty(202, _state(call, upload))
    digest = digest_of(given)
    upload = await call.repository.begin_upload(digest.algorithm)
    try:
        async with call.writers.only(upload.id):
            await _receive(call, upload, None)
            await upload.commit(digest)
    except BaseException:
        await upload.cancel()  # nobody knows its name
        raise
    return _created(call, digest)


async def status(call: Call) -> StreamResponse:
    """``GET /v2/<name>/blobs/uploads/<id>``: how far an upload has come."""
    return empty(204, _state(call, await call.repository.upload(call.target.item)))


async def write(call: Call) -> StreamResponse:
    """``PATCH /v2/<name>/blobs/uploads/<id>``: a chunk, or all there is."""
    async with call.writers.only(call.target.item):
        upload = await call.repository.upload(call.target.item)
        await _receive(call, upload, _chunk(call, upload))
        return empty(202, _state(call, upload))


async def finish(call: Call) -> StreamResponse:
    """``PUT /v2/<name>/blobs/uploads/<id>?digest=…``: the last chunk, if any, and the end."""
    given = call.target.parameter("digest")
    if given is None:
        raise Failure("DIGEST_INVALID", "digest missing")
    digest = digest_of(given)
    async with call.writers.only(call.target.item):
        upload = await call.repository.upload(call.target.item)
        await _receive(call, upload, _chunk(call, upload))
        await upload.commit(digest)
    return _created(call, digest)


async def cancel(call: Call) -> StreamResponse:
    """``DELETE /v2/<name>/blobs/uploads/<id>``: forget an upload."""
    async with call.writers.only(call.target.item):
        upload = await call.repository.upload(call.target.item)
        await upload.cancel()
    return empty(204, {"Docker-Upload-UUID": upload.id})


async def _mount(call: Call, digest: str | None, source: str | None) -> Digest | None:
    """Mount what the parameters name; None if that is nothing: then an upload begins, as the specification wants."""
    if digest is None or not is_path(source or ""):
        return None
    try:
        wanted = Digest.parse(digest)
    except InvalidArgument:
        return None
    return wanted if await call.repository.mount(wanted, source or "") else None


async def _receive(call: Call, upload: Upload, chunk: Chunk | None) -> None:
    """Append the request's body to an upload; the next portion is awaited while one is written.

    Raises `Failure` when the body is not as long as the chunk that was announced.
    """
    received = 0
    writing: asyncio.Task[None] | None = None
    try:
        async for pieces in call.blocks():
            received += sum(map(len, pieces))
            if chunk is not None and received > chunk.length:
                raise Failure("SIZE_INVALID", headers=_state(call, upload))
            if writing is not None:
                await writing
            writing = asyncio.create_task(upload.write(pieces))
    finally:
        if writing is not None:
            await writing
    if chunk is not None and received < chunk.length:
        raise Failure("SIZE_INVALID", headers=_state(call, upload))


def _chunk(call: Call, upload: Upload) -> Chunk | None:
    """Return the chunk that the request announces, None if it only appends. Raises `Failure` if it does not fit."""
    header = call.request.headers.get("Content-Range")
    if header is None:
        return None
    chunk = parse_chunk(header)
    if chunk.start != upload.offset:
        raise Failure("RANGE_INVALID", headers=_state(call, upload))
    if call.length is not None and call.length != chunk.length:
        raise Failure("SIZE_INVALID", headers=_state(call, upload))
    return chunk


def _algorithm(given: str | None) -> str:
    """Return the algorithm that the client hints at; the digest decides in the end."""
    return "sha512" if given == "sha512" else _USUAL_ALGORITHM


def _state(call: Call, upload: Upload) -> dict[str, str]:
    return {
        "Location": f"/v2/{call.target.name}/blobs/uploads/{upload.id}",
        "Range": f"0-{max(0, upload.offset - 1)}",
        "Docker-Upload-UUID": upload.id,
    }


def _created(call: Call, digest: Digest) -> StreamResponse:
    location = f"/v2/{call.target.name}/blobs/{digest}"
    return empty(201, {"Location": location, "Docker-Content-Digest": str(digest)})
