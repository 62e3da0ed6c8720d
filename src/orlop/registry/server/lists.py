"""Lists, which come in pages: tags, repositories, referrers."""

from __future__ import annotations

import msgspec
from aiohttp.web_response import StreamResponse

from orlop.formats.reference import is_path
from orlop.model.oci import documents, media
from orlop.model.oci.documents import Descriptor
from orlop.registry.server.call import Call, json
from orlop.registry.server.pages import Page, cut, link, number

__all__ = ["catalog", "list_referrers", "list_tags"]

_CATALOG_PAGE = 100
_ENVELOPE = 1024  # bytes of an index without its entries, at most


async def list_tags(call: Call) -> StreamResponse:
    """``GET /v2/<name>/tags/list``: in the specification's order: alphabetical, whatever the letters' case."""
    n = number(call.target.parameter("n"))
    tags = await call.repository.tags()
    page = cut(tags, call.target.parameter("last"), n, lambda tag: (tag.lower(), tag))
    headers = link(f"/v2/{call.target.name}/tags/list", page, n)
    return json({"name": call.target.name, "tags": page.items}, headers)


async def catalog(call: Call) -> StreamResponse:
    """``GET /v2/_catalog``: the repositories that have manifests."""
    n = number(call.target.parameter("n"))
    n = _CATALOG_PAGE if n is None else n
    names = filter(is_path, await call.storage.repositories())
    page = cut(names, call.target.parameter("last"), n)
    return json({"repositories": page.items}, link("/v2/_catalog", page, n))


async def list_referrers(call: Call) -> StreamResponse:
    """``GET /v2/<name>/referrers/<digest>``: an index that is cut where it would be larger than a manifest may be."""
    subject = call.target.digest
    wanted = call.target.parameter("artifactType")
    last = call.target.parameter("last") or ""
    found = [
        descriptor
        for descriptor in await call.repository.referrers(subject)
        if descriptor.digest > last and wanted in (None, descriptor.artifact_type)
    ]
    shown = _fitting(found)
    page = Page([descriptor.digest for descriptor in shown], len(shown) < len(found))
    filters = {} if wanted is None else {"artifactType": wanted}
    headers = link(f"/v2/{call.target.name}/referrers/{subject}", page, None, **filters)
    if wanted is not None:
        headers["OCI-Filters-Applied"] = "artifactType"
    index = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": shown}
    return json(index, headers, kind=media.OCI_INDEX)


def _fitting(descriptors: list[Descriptor]) -> list[Descriptor]:
    """Return the first descriptors that fit into one document, at least one."""
    size = _ENVELOPE
    for count, descriptor in enumerate(descriptors):
        size += len(msgspec.json.encode(descriptor)) + 1
        if count and size > documents.MAX_BYTES:
            return descriptors[:count]
    return descriptors
