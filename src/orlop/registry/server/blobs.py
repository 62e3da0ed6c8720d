"""Blobs: reading them whole and in parts, removing them."""

from __future__ import annotations

from aiohttp.web_response import StreamResponse

from orlop.formats.digest import Digest
from orlop.registry.server.call import BlobAnswer, Call, empty, head
from orlop.registry.server.ranges import Span, parse_range

__all__ = ["delete_blob", "get_blob", "head_blob"]


async def get_blob(call: Call) -> StreamResponse:
    """``GET /v2/<name>/blobs/<digest>``: the whole, or the part that a Range header asks for."""
    digest = call.target.digest
    headers = _headers(digest)
    blob = await call.repository.open_blob(digest)
    with blob.file:
        if call.matches(str(digest)):
            return empty(304, headers)
        span = _span(call, digest, blob.size)
        status = 200
        if span is not None:
            status = 206
            headers["Content-Range"] = f"bytes {span.start}-{span.start + span.length - 1}/{blob.size}"
        else:
            span = Span(0, blob.size)
        answer = BlobAnswer(blob, span.start, span.length, status, headers)
        await answer.write_body(call.request)
    return answer


async def head_blob(call: Call) -> StreamResponse:
    """``HEAD /v2/<name>/blobs/<digest>``: whether it is there. Who asks may go on to push a manifest that names it."""
    digest = call.target.digest
    size = await call.repository.blob_size(digest)
    if call.matches(str(digest)):
        return empty(304, _headers(digest))
    return head(size, _headers(digest))


async def delete_blob(call: Call) -> StreamResponse:
    """``DELETE /v2/<name>/blobs/<digest>``: the repository names it no longer; a collection frees its space."""
    digest = call.target.digest
    await call.repository.delete_blob(digest)
    return empty(202, {"Docker-Content-Digest": str(digest)})


def _span(call: Call, digest: Digest, size: int) -> Span | None:
    asked = call.request.headers.get("Range", "")
    condition = call.request.headers.get("If-Range")
    if not asked or (condition is not None and condition.strip() != f'"{digest}"'):
        return None
    return parse_range(asked, size)


def _headers(digest: Digest) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000",
    }
