"""Manifests: pushed after what they name, pulled by tag or digest, deleted with their tags."""

from __future__ import annotations

import msgspec
from aiohttp.web_response import Response, StreamResponse

from orlop.errors import InvalidArgument
from orlop.formats.digest import Digest
from orlop.formats.reference import is_tag
from orlop.model.oci import documents
from orlop.model.oci.documents import Index
from orlop.registry import references
from orlop.registry.references import References
from orlop.registry.server.accept import Accepted, wants_default
from orlop.registry.server.call import Call, empty, head
from orlop.registry.server.failure import Failure
from orlop.registry.storage.storage import StoredManifest

__all__ = ["delete_manifest", "get_manifest", "put_manifest"]

_DEFAULT_PLATFORM = ("linux", "amd64")
_MAX_TOLD = 100  # of missing blobs


async def get_manifest(call: Call) -> StreamResponse:
    """``GET`` and ``HEAD /v2/<name>/manifests/<reference>``."""
    reference = call.target.reference
    digest = await call.repository.resolve(reference) if isinstance(reference, str) else reference
    manifest = await call.repository.manifest(digest)
    accepted = Accepted(call.request.headers.getall("Accept", ()))
    if wants_default(accepted, manifest.media_type, by_tag=isinstance(reference, str)):
        manifest = await call.repository.manifest(_default(manifest))
    headers = {
        "Content-Type": manifest.media_type,
        "Docker-Content-Digest": str(manifest.digest),
        "ETag": f'"{manifest.digest}"',
    }
    if call.matches(str(manifest.digest)):
        return empty(304, headers)
    if call.is_head:
        return head(len(manifest.data), headers)
    return Response(body=manifest.data, headers=headers)


async def put_manifest(call: Call) -> StreamResponse:
    """``PUT /v2/<name>/manifests/<reference>``; by digest it may name tags in its query."""
    reference = call.target.reference
    data = await call.body(documents.MAX_BYTES)
    digest = Digest.of(data, "sha256" if isinstance(reference, str) else reference.algorithm)
    if reference != digest and not isinstance(reference, str):
        raise Failure("DIGEST_INVALID", detail={"digest": str(reference)})
    tags = [reference] if isinstance(reference, str) else call.target.all("tag")
    if not all(map(is_tag, tags)):
        raise Failure("TAG_INVALID", "invalid tag")
    try:
        named = references.read(data, call.request.headers.get("Content-Type", ""))
    except InvalidArgument as error:
        raise Failure("MANIFEST_INVALID", error.message) from None
    await _check_there(call, named)
    manifest = StoredManifest(digest, named.media_type, data)
    await call.repository.put_manifest(manifest, tags, named.subject, named.descriptor(digest, len(data)))
    headers = {"Location": f"/v2/{call.target.name}/manifests/{digest}", "Docker-Content-Digest": str(digest)}
    if named.subject is not None:
        headers["OCI-Subject"] = str(named.subject)
    answer = empty(201, headers)
    for tag in tags if not isinstance(reference, str) else ():
        answer.headers.add("OCI-Tag", tag)
    return answer


async def delete_manifest(call: Call) -> StreamResponse:
    """``DELETE /v2/<name>/manifests/<reference>``: a tag alone, or a manifest with all its tags."""
    reference = call.target.reference
    if isinstance(reference, str):
        await call.repository.delete_tag(reference)
    else:
        await call.repository.delete_manifest(reference)
    return empty(202)


async def _check_there(call: Call, named: References) -> None:
    """Raise `Failure` if something is missing that has to be there; what may be missing is held on to all the same."""
    missing = await call.repository.missing(named.blobs, named.manifests)
    if missing:
        told = [{"digest": str(digest)} for digest in sorted(missing)[:_MAX_TOLD]]
        raise Failure("MANIFEST_BLOB_UNKNOWN", detail=told[0], more=told[1:])
    if named.others:
        await call.repository.missing((), named.others)


def _default(manifest: StoredManifest) -> Digest:
    """Return which image of an index those are given who cannot read one. Raises `Failure` if there is none."""
    index = msgspec.json.decode(manifest.data, type=Index)
    for child in index.manifests:
        platform = child.platform
        if platform is not None and (platform.os, platform.architecture) == _DEFAULT_PLATFORM:
            return child.parsed_digest
    raise Failure("MANIFEST_UNKNOWN", "the index has no image for linux/amd64, and the client takes no index")
