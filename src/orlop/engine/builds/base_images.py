"""The images that a build stands on: those that are here, and those that have to be pulled.

An image is here if its name is, for the platform that is wanted. A build for another platform must not take a name
from the image that users of this machine mean by it: what is pulled for it is named by its own digest alone.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from orlop.build.graph import ImageInfo, ImageWanted
from orlop.build.progress import Began, Ended, Report, Transfer, Warned
from orlop.engine.builds.credentials import Keyring
from orlop.engine.images import pull
from orlop.engine.images.upload import host_platform
from orlop.errors import Error, NotFound
from orlop.formats import reference as references
from orlop.formats.platform import Platform, choose, normalize
from orlop.image.derive import hold
from orlop.image.leases import Lease
from orlop.model.record import ImageRecord

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

__all__ = ["BaseImages"]

Json = dict[str, Any]

_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


class BaseImages:
    """Finds the images of one build; `lease` holds what was found.

    With `always` the registry is asked even where an image is here (`--pull`). `default` says that no platform was
    asked for: then an image of another one that is here does if there is no other.
    """

    def __init__(
        self, engine: Engine, lease: Lease, report: Report, keyring: Keyring, *, always: bool, default: bool
    ) -> None:
        self._engine = engine
        self._lease = lease
        self._report = report
        self._keyring = keyring
        self._always = always
        self._default = default

    async def find(self, wanted: Sequence[ImageWanted]) -> Mapping[ImageWanted, ImageInfo]:
        """Return what was wanted, all of it. Raises the first error; then nothing is being pulled any more."""
        tasks = {image: asyncio.ensure_future(self._find(image)) for image in wanted}
        try:
            await asyncio.gather(*tasks.values())
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        return {image: task.result() for image, task in tasks.items()}

    async def _find(self, wanted: ImageWanted) -> ImageInfo:
        here = self._here(wanted.reference)
        by_id = _ID.fullmatch(wanted.reference) is not None
        if here is not None and (by_id or (_suits(here, wanted.platform) and not self._always)):
            return await self._info(here)
        if by_id:
            raise NotFound(f"No such image: {wanted.reference}")
        try:
            return await self._info(await self._pull(wanted))
        except Error:
            if here is None or self._always or not (self._default and wanted.platform == host_platform()):
                raise
            self._report(Warned(message=_mismatch(here, wanted.platform)))
            return await self._info(here)

    def _here(self, name: str) -> ImageRecord | None:
        try:
            return self._engine.images.resolve(name)
        except NotFound:
            return None

    async def _info(self, record: ImageRecord) -> ImageInfo:
        await asyncio.to_thread(hold, self._engine.images.depot, self._lease, record)
        return ImageInfo(record.id, await asyncio.to_thread(self._engine.images.config, record))

    async def _pull(self, wanted: ImageWanted) -> ImageRecord:
        """Pull an image, which is a vertex of its own."""
        target = references.parse(wanted.reference).tagged()
        vertex = f"pull {target.familiar()} {wanted.platform}"
        self._report(Began(vertex=vertex, name=f"[internal] load metadata for {target.canonical()}", time=_now()))
        error = ""
        try:
            return await self._pulled(wanted, vertex)
        except Error as failure:
            error = failure.message
            raise
        finally:
            self._report(Ended(vertex=vertex, time=_now(), error=error))

    async def _pulled(self, wanted: ImageWanted, vertex: str) -> ImageRecord:
        target = references.parse(wanted.reference).tagged()
        found: list[ImageRecord] = []
        messages = pull.pull(
            self._engine,
            target.name,
            tag=str(target.digest) if target.digest else target.tag,
            platform=str(wanted.platform),
            auth=self._keyring.header(target),
            named=choose(host_platform(), [wanted.platform]) is not None,
            found=found.append,
        )
        async with aclosing(messages):
            async for message in messages:
                self._report(_transfer(vertex, message))
        if not _suits(found[-1], wanted.platform):
            own = _platform(found[-1])
            raise NotFound(
                f"image with reference {target.familiar()} was found but its platform ({own}) "
                f"does not match the specified platform ({wanted.platform})"
            )
        return found[-1]


def _transfer(vertex: str, message: Json) -> Transfer:
    """Return a progress message of a pull as a record."""
    detail: Json = message.get("progressDetail") or {}
    status: str = message.get("status", "")
    return Transfer(
        vertex=vertex,
        id=message.get("id", ""),
        time=_now(),
        current=detail.get("current", 0),
        total=detail.get("total", 0),
        done=status in ("Pull complete", "Already exists"),
        status=status,
    )


def _suits(record: ImageRecord, platform: Platform) -> bool:
    return choose(platform, [_platform(record)]) is not None


def _platform(record: ImageRecord) -> Platform:
    return normalize(Platform(record.os, record.architecture, record.variant))


def _mismatch(record: ImageRecord, wanted: Platform) -> str:
    return (
        f"The requested image's platform ({_platform(record)}) does not match the detected host platform ({wanted}) "
        "and no specific platform was requested"
    )


def _now() -> int:
    return time.time_ns()
