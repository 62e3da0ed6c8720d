"""A repository: its manifests, tags and blobs, wherever they are had."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
import msgspec

from orlop.errors import Error, Internal, InvalidArgument, NotFound
from orlop.formats.digest import Digest
from orlop.formats.reference import Reference, check_tag
from orlop.model.oci import media
from orlop.model.oci.documents import MAX_BYTES, Descriptor, Document, parse
from orlop.registry.client.blobs import BlobStream, open_blob
from orlop.registry.client.failures import Interrupted
from orlop.registry.client.registry import Registry
from orlop.registry.client.transport import Body, check_stored, origin, resolve
from orlop.registry.client.uploads import Open, Upload

__all__ = ["FetchedManifest", "Repository"]

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")
_NEXT = re.compile(r'\s*<([^<>]{1,4096})>\s*;\s*rel="?next"?', re.ASCII)
_MAX_PAGES = 1000
_ACCEPT = ", ".join(media.ACCEPT)


@dataclass(frozen=True, slots=True)
class FetchedManifest:
    """A manifest or index, verified. After a HEAD request only the descriptor is known."""

    descriptor: Descriptor
    data: bytes = b""
    document: Document | None = None


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class Repository:
    """One repository. Reads try the mirrors first; writes go to the registry itself."""

    def __init__(self, reference: Reference, find: Callable[[], Awaitable[Registry]], mirrors: tuple[Registry, ...]):
        self.reference = reference
        self.name = reference.path
        self._find = find
        self._mirrors = list(mirrors)
        self._uploads: dict[str, str] = {}  # begun by a mount that did not happen

    async def manifest(self, tag_or_digest: str, *, head: bool = False) -> FetchedManifest:
        """Fetch a manifest or index and verify it. Raises `errors.Error` with dockerd's words for a pull."""
        return await self._read(lambda registry: self._manifest(registry, tag_or_digest, head))

    @contextlib.asynccontextmanager
    async def open_blob(self, descriptor: Descriptor, offset: int = 0) -> AsyncIterator[BlobStream]:
        """Open a blob behind its first `offset` bytes. Raises `errors.Error`; `Unavailable` may pass."""
        async with contextlib.AsyncExitStack() as stack:

            async def begin(registry: Registry) -> BlobStream:
                stream = open_blob(registry, self.name, descriptor, offset, self._scopes("pull"))
                return await stack.enter_async_context(stream)

            yield await self._read(begin)

    async def has_blob(self, digest: str, *, push: bool = True) -> bool:
        """Tell whether the registry itself has a blob in this repository."""
        registry = await self._find()
        actions = "pull,push" if push else "pull"
        call = registry.call(
            "HEAD",
            registry.url(f"{self.name}/blobs/{digest}"),
            scopes=self._scopes(actions),
            accept=(200, 301, 302, 303, 307, 308, 404),
            follow=False,
        )
        async with await call as answer:
            return answer.status != 404

    async def mount(self, digest: str, from_repository: str) -> bool:
        """Let a blob of another repository of this registry be in this one too; False if it is to be uploaded."""
        registry = await self._find()
        url = registry.url(f"{self.name}/blobs/uploads/?mount={digest}&from={from_repository}")
        scopes = self._scopes("pull,push") | {f"repository:{from_repository}:pull"}
        async with await registry.call("POST", url, scopes=scopes, accept=(201, 202), body=Body.of(b"")) as answer:
            if answer.status == 202:
                self._uploads[digest] = resolve(str(answer.url), answer.headers.get("Location", ""))
            return answer.status == 201

    async def upload(self, descriptor: Descriptor, open: Open, progress: Callable[[int], None]) -> None:
        """Upload a blob; `open` gives its bytes from the beginning and may be called again after a failure."""
        registry = await self._find()
        location = self._uploads.pop(descriptor.digest, "")
        scopes = self._scopes("pull,push")
        await Upload(registry, self.name, descriptor, scopes, open, progress, location).run()

    async def put_manifest(self, reference: str, data: bytes, media_type: str) -> str:
        """Store a manifest under a tag or its digest, and return the digest."""
        registry = await self._find()
        digest = Digest.parse(reference) if ":" in reference else Digest.of(data)
        call = registry.call(
            "PUT",
            registry.url(f"{self.name}/manifests/{reference}"),
            scopes=self._scopes("pull,push"),
            headers={"Content-Type": media_type},
            body=Body.of(data),
            accept=(200, 201, 202),
        )
        async with await call as answer:
            check_stored(answer, digest, "manifest")
        return str(digest)

    async def tags(self) -> list[str]:
        """Return all tags. Raises `NotFound` for a repository that is not there."""
        return await self._read(self._tags)

    async def _read(self, operation: Callable[[Registry], Awaitable[_Result]]) -> _Result:
        """Do something at the first mirror that can, or at the registry itself."""
        for mirror in list(self._mirrors):
            try:
                return await operation(mirror)
            except Error as error:
                log.warning("mirror %s: %s; going on without it", mirror.endpoint.url, error)
                if isinstance(error, Interrupted) and mirror in self._mirrors:
                    self._mirrors.remove(mirror)
        return await operation(await self._find())

    def _scopes(self, actions: str) -> frozenset[str]:
        return frozenset({f"repository:{self.name}:{actions}"})

    async def _manifest(self, registry: Registry, wanted: str, head: bool) -> FetchedManifest:
        url = registry.url(f"{self.name}/manifests/{wanted}")
        scopes, headers = self._scopes("pull"), {"Accept": _ACCEPT}
        if head:
            accept = (200, *range(400, 500))  # why it was refused, only GET tells
            async with await registry.call("HEAD", url, scopes=scopes, headers=headers, accept=accept) as answer:
                descriptor = _described(answer, wanted)
            if descriptor is not None:
                return FetchedManifest(descriptor)
        try:
            answer, data = await registry.read(url, MAX_BYTES, scopes=scopes, headers=headers)
        except Error as error:
            raise self._pull_error(error, wanted) from error
        return _verified(answer, data, wanted)

    def _pull_error(self, error: Error, wanted: str) -> Error:
        """Say of what a registry refused what it means for a pull, as dockerd does."""
        code = getattr(error, "code", "")
        name = self.reference.familiar_name
        if code == "DENIED":
            meaning = f"pull access denied for {name}, repository does not exist or may require 'docker login'"
        elif code == "MANIFEST_UNKNOWN":
            meaning = f"manifest for {name}{'@' if ':' in wanted else ':'}{wanted} not found"
        elif code == "NAME_UNKNOWN":
            meaning = f"repository {name} not found"
        else:
            return error
        return NotFound(f"{meaning}: {error}")

    async def _tags(self, registry: Registry) -> list[str]:
        url = registry.url(f"{self.name}/tags/list")
        found: list[str] = []
        for _ in range(_MAX_PAGES):
            answer, data = await registry.read(url, MAX_BYTES, scopes=self._scopes("pull"))
            try:
                found += [check_tag(tag) for tag in msgspec.json.decode(data, type=_Tags).tags or []]
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidArgument):
                raise Internal(f"invalid list of tags from {registry.endpoint.host}") from None
            following = _NEXT.match(answer.headers.get("Link", ""))
            if following is None:
                return found
            target = resolve(url, following[1])
            if origin(target) != origin(url):
                raise InvalidArgument(f"{registry.endpoint.host} continues its list of tags at another host")
            url = target
        raise InvalidArgument(f"{registry.endpoint.host} has more than {_MAX_PAGES} pages of tags")


def _verified(answer: aiohttp.ClientResponse, data: bytes, wanted: str) -> FetchedManifest:
    """Return what was fetched if it is what was asked for. Raises `InvalidArgument`."""
    content_type = answer.headers.get("Content-Type", "")
    if media.without_parameters(content_type) in media.SCHEMA_1:
        parse(data, content_type)  # refuses it; its digest is that of a part of it
    stated = answer.headers.get("Docker-Content-Digest", "")
    expected = Digest.parse(wanted) if ":" in wanted else (Digest.parse(stated) if stated else None)
    digest = Digest.of(data, expected.algorithm if expected else "sha256")
    if expected is not None and digest != expected:
        raise InvalidArgument(f"manifest verification failed for digest {expected}")
    document = parse(data, content_type)
    descriptor = Descriptor(media_type=document.media_type, digest=str(digest), size=len(data))
    return FetchedManifest(descriptor, data, document)


def _described(answer: aiohttp.ClientResponse, wanted: str) -> Descriptor | None:
    """Return what a HEAD request tells, None if that is not enough."""
    stated = answer.headers.get("Docker-Content-Digest", "")
    media_type = media.without_parameters(answer.headers.get("Content-Type", ""))
    length = answer.headers.get("Content-Length", "")
    if (
        answer.status != 200
        or not stated
        or media_type not in media.MANIFESTS | media.INDEXES
        or not length.isdecimal()
    ):
        return None
    digest = Digest.parse(stated)
    if ":" in wanted and digest.algorithm == wanted.partition(":")[0] and str(digest) != wanted:
        raise InvalidArgument(f"manifest verification failed for digest {wanted}")
    return Descriptor(media_type=media_type, digest=stated, size=int(length[:19]))
