"""`POST /images/create?fromImage=`: an image, or all tags of a repository, from a registry (`docker pull`)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orlop.engine.images import registries
from orlop.engine.images.attributes import labels_of, publish
from orlop.engine.images.pull_progress import INTERVAL, Progress
from orlop.engine.images.resolution import Found, check_manifest, find_manifest
from orlop.engine.images.upload import host_platform
from orlop.errors import Error, Forbidden, Internal, InvalidArgument, NotFound, Unauthorized
from orlop.formats import platform as platforms
from orlop.formats import reference as references
from orlop.formats.digest import Digest
from orlop.formats.platform import Platform, choose
from orlop.formats.reference import Reference
from orlop.image.collect import names_of
from orlop.image.gather import Gathering
from orlop.image.leases import Lease
from orlop.model.oci import media
from orlop.model.oci.documents import Descriptor, Manifest, Schema1
from orlop.model.record import ImageRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine
    from orlop.registry.client.repository import Repository

__all__ = ["parse_source", "pull"]

Json = dict[str, Any]
Messages = AsyncGenerator[Json, None]


async def pull(
    engine: Engine,
    name: str,
    *,
    tag: str = "",
    platform: str = "",
    auth: str = "",
    named: bool = True,
    found: Callable[[ImageRecord], None] = lambda record: None,
) -> Messages:
    """Pull `name`; yield Docker's progress messages.

    `tag` may be a digest; without one all tags are pulled. `platform` is ``os/architecture[/variant]``, of which the
    image must be; `auth` is the ``X-Registry-Auth``. Each image is named as soon as all of it is here, and `found` is
    called with it; unless it is to be `named`, it has the name by the digest of its own manifest alone. Raises
    `errors.Error`, before the first message if the registry does not have what is asked for.
    """
    wanted = platforms.parse(platform, machine=os.uname().machine) if platform else None
    target = parse_source(name, tag)
    credentials = registries.optional_credentials(auth)
    async with registries.lasting_repository(engine, credentials, target) as repository:
        try:
            async with aclosing(_Pull(engine, repository, wanted, named, found).run(target)) as messages:
                async for message in messages:
                    yield message
        except Unauthorized as error:
            raise Error(error.message) from error  # dockerd's status, too: at 401 its client asks for a password


def parse_source(name: str, tag: str) -> Reference:
    """Return what a request asks for; with neither tag nor digest it means all tags. Raises `errors.Error`."""
    source = references.parse(name.removesuffix(":"))
    if tag:
        try:
            source = replace(source, digest=Digest.parse(tag))
        except InvalidArgument:
            source = replace(source, tag=references.check_tag(tag))
    if source.familiar_name == "scratch":
        raise Forbidden("'scratch' is a reserved name")
    return source if source.digest is None else replace(source, tag="")


class _Pull:
    """One pull of one user."""

    def __init__(
        self,
        engine: Engine,
        repository: Repository,
        wanted: Platform | None,
        named: bool,
        found: Callable[[ImageRecord], None],
    ) -> None:
        self._named = named
        self._found = found
        self._engine = engine
        self._images = engine.images
        self._repository = repository
        self._wanted = wanted
        self._changed = False
        self._record: ImageRecord | None = None  # of the last image
        self._warning = ""

    async def run(self, target: Reference) -> Messages:
        one = bool(target.tag or target.digest)
        for tag in [target.tag] if one else await self._repository.tags():
            async with aclosing(self._one(replace(target, tag=tag))) as messages:
                async for message in messages:
                    yield message
        status = "Downloaded newer image" if self._changed else "Image is up to date"
        yield {"status": f"Status: {status} for {target.familiar()}"}
        labels = labels_of(self._engine, self._record) if self._record and one else {}
        publish(self._engine, "pull", target.familiar(), target.familiar_name, labels)
        if self._warning:
            yield {"status": self._warning}

    async def _one(self, target: Reference) -> Messages:
        """Pull one image and name it."""
        start = {"status": f"Pulling from {target.path}", "id": target.tag or target.canonical()}
        lease = self._images.lease()
        try:
            unchanged = await self._unchanged(target, lease)
            if unchanged is not None:
                yield start
                yield {"status": f"Digest: {unchanged}"}
                return
            top = await self._top(target)
            yield start
            found, manifest = await find_manifest(top, self._wanted or host_platform(), self._fetch)
            async with aclosing(self._bring(target, top.digest, found, manifest, lease)) as messages:
                async for message in messages:
                    yield message
            if found is top:
                self._check_platform(target)
        finally:
            await asyncio.to_thread(lease.release)

    async def _unchanged(self, target: Reference, lease: Lease) -> str | None:
        """Return the digest of the manifest or index if the registry has what is here under this name.

        A question for the digest alone costs less than a manifest, which registries count.
        """
        image_id = self._images.lookup(target)
        record = self._present(image_id, lease) if image_id else None
        if record is None or not self._suits(record, self._wanted or host_platform()):
            return None
        head = await self._repository.manifest(_place(target), head=True)
        if self._images.lookup(_by_digest(target, head.descriptor.digest)) != record.id:
            return None
        self._record = record
        self._found(record)
        return head.descriptor.digest

    async def _top(self, target: Reference) -> Found:
        """Return what the reference leads to, and refuse at once what can be seen to be no image."""
        found = await self._get(_place(target), target)
        if isinstance(found.document, Manifest) and found.document.media_type == media.DOCKER_MANIFEST:
            check_manifest(found.document)
        return found

    async def _fetch(self, descriptor: Descriptor) -> Found:
        return await self._get(descriptor.digest, self._repository.reference)

    async def _get(self, place: str, target: Reference) -> Found:
        try:
            fetched = await self._repository.manifest(place)
        except Schema1 as error:
            raise InvalidArgument(
                f"{error} Suggest the author of {target.canonical()} to upgrade the image to the OCI Format or Docker "
                "Image manifest v2, schema 2. More information at https://docs.docker.com/go/deprecated-image-specs/"
            ) from None
        if fetched.document is None:
            raise Internal(f"manifest {place} came without its content")
        return Found(fetched.descriptor.digest, fetched.data, fetched.document)

    async def _bring(self, target: Reference, digest: str, found: Found, manifest: Manifest, lease: Lease) -> Messages:
        """Gather the image of `manifest` if it is not here, and name it; `digest` is what the registry calls it."""
        record = self._present(manifest.config.digest, lease)
        if record is not None:
            yield {"status": f"Digest: {digest}"}
            await self._name(target, digest if self._named else found.digest, record)
            return
        gathering = Gathering(
            self._engine.fetches, self._repository, lease, manifest, found.data, Digest.parse(found.digest)
        )
        named = False
        try:
            running = asyncio.create_task(gathering.run())
            async with aclosing(_watched(running, Progress(gathering.rows))) as messages:
                async for message in messages:
                    yield message
            yield {"status": f"Digest: {digest}"}
            await self._name(target, digest if self._named else found.digest, running.result())
            named = True
        finally:
            await gathering.close(named=named)

    def _present(self, image_id: str, lease: Lease) -> ImageRecord | None:
        """Return an image that is here with all its parts, which `lease` holds from now on."""
        try:
            record = self._images.get(image_id)
            names = {*names_of(record, self._images.layers), *self._images.layers.names_of(record)}
        except (NotFound, Internal):
            return None
        for name in names:
            lease.hold(name)
        return record if not record.removed and all(map(self._images.depot.has, names)) else None

    async def _name(self, target: Reference, digest: str, record: ImageRecord) -> None:
        self._changed |= self._images.lookup(target) != record.id
        self._record = record
        by_digest = _by_digest(target, digest)
        await self._images.add([(record, [target, by_digest] if target.tag and self._named else [by_digest])])
        self._found(record)

    def _suits(self, record: ImageRecord, platform: Platform) -> bool:
        return choose(platform, [Platform(record.os, record.architecture, record.variant)]) is not None

    def _check_platform(self, target: Reference) -> None:
        """Warn of an image for one platform only, which is not the one that was asked for."""
        record, wanted = self._record, self._wanted
        if record is not None and wanted is not None and not self._suits(record, wanted):
            platform = platforms.normalize(Platform(record.os, record.architecture, record.variant))
            self._warning = (
                f"WARNING: image with reference {target.canonical()} was found but its platform ({platform}) "
                f"does not match the specified platform ({wanted})"
            )


async def _watched(running: asyncio.Task[ImageRecord], progress: Progress) -> Messages:
    """Yield what is new until `running` is done; it ends with this. Raises what it raised."""
    try:
        while not running.done():
            await asyncio.wait([running], timeout=INTERVAL)
            for message in progress.news():
                yield message
        running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _place(target: Reference) -> str:
    """Return what a registry is asked for: the digest or the tag."""
    return str(target.digest) if target.digest else target.tag


def _by_digest(target: Reference, digest: str) -> Reference:
    return replace(target, tag="", digest=Digest.parse(digest))
