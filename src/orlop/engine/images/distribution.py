"""`GET /distribution/{name}/json`: what a registry has under a name, without pulling it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from orlop.engine.images import registries
from orlop.errors import Error
from orlop.formats import reference as references
from orlop.formats.digest import Digest
from orlop.formats.identity import is_id
from orlop.image.config import MAX_CONFIG
from orlop.model.oci.documents import Descriptor, DescriptorPlatform, Index, Manifest

if TYPE_CHECKING:
    from orlop.engine.engine import Engine
    from orlop.registry.client.repository import Repository

__all__ = ["distribution", "platform_json", "platforms_of_config"]

Json = dict[str, Any]


async def distribution(engine: Engine, name: str, *, auth: str = "") -> Json:
    """Return the descriptor of what `name` leads to, and the platforms that it is for. Raises `errors.Error`."""
    if is_id(name.removeprefix("sha256:")):
        raise Error("no manifest found for full image ID")
    target = references.parse(name).tagged()
    async with registries.client(engine, registries.optional_credentials(auth)) as client:
        repository = client.repository(target)
        try:
            found = await repository.manifest(str(target.digest) if target.digest else target.tag)
        except Error as error:
            raise _plain(error) from error
        descriptor, document = found.descriptor, found.document
        platforms: list[Json] = []
        if isinstance(document, Index):
            platforms = [platform_json(item.platform or DescriptorPlatform()) for item in document.manifests]
        elif isinstance(document, Manifest):
            platforms = await platforms_of_config(repository, document.config)
    return {
        "Descriptor": {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size},
        "Platforms": platforms or None,
    }


async def platforms_of_config(repository: Repository, config: Descriptor) -> list[Json]:
    """Return the platform that an image's configuration names; none if that cannot be had or is of something else."""
    if config.size > MAX_CONFIG:
        return []
    data = bytearray()
    try:
        async with repository.open_blob(config) as stream:
            async for block in stream:
                data += block
        if Digest.of(bytes(data), config.parsed_digest.algorithm) != config.parsed_digest:
            return []
        platform = msgspec.json.decode(bytes(data), type=DescriptorPlatform)
    except (Error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    return [platform_json(platform)] if platform.os or platform.architecture else []


def platform_json(platform: DescriptorPlatform) -> Json:
    """Return a platform in the form of the API."""
    document: Json = {"architecture": platform.architecture, "os": platform.os}
    if platform.os_version:
        document["os.version"] = platform.os_version
    if platform.os_features:
        document["os.features"] = list(platform.os_features)
    if platform.variant:
        document["variant"] = platform.variant
    return document


def _plain(error: Error) -> Error:
    """Return the registry's own error, without what it means for a pull."""
    cause = error.__cause__
    return cause if isinstance(cause, Error) else error
