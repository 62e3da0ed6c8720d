"""`GET /orlop/manifests/{name}`: a manifest or an index as its registry has it, byte for byte."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orlop.engine.images import registries
from orlop.engine.images.distribution import platform_json, platforms_of_config
from orlop.errors import Error
from orlop.formats import reference as references
from orlop.formats.digest import Digest
from orlop.formats.reference import Reference
from orlop.model.oci.documents import MAX_BYTES, Descriptor, Index, Manifest

if TYPE_CHECKING:
    from orlop.engine.engine import Engine
    from orlop.registry.client.repository import FetchedManifest, Repository

__all__ = ["inspect"]

Json = dict[str, Any]

_MOST = 4 * MAX_BYTES  # of all manifests of an index together


async def inspect(engine: Engine, name: str, *, verbose: bool = False, insecure: bool = False, auth: str = "") -> Json:
    """Return what `name` leads to: ``Ref``, ``Descriptor``, the document (``Raw``, base64), of an index ``Manifests``.

    These are their descriptors; with `verbose` each is an object like the whole, and a manifest's descriptor has the
    platform of its configuration. `insecure` lets this registry go without verified TLS. Raises `errors.Error`.
    """
    target = references.parse(name).tagged()
    hosts = (target.domain,) if insecure else ()
    async with registries.client(engine, registries.optional_credentials(auth), insecure=hosts) as client:
        repository = client.repository(target)
        found = await repository.manifest(str(target.digest) if target.digest else target.tag)
        shown = _shown(target, found)
        if isinstance(found.document, Index):
            manifests = found.document.manifests
            shown["Manifests"] = (
                await _each(repository, target, manifests) if verbose else [_descriptor(item) for item in manifests]
            )
        elif verbose and isinstance(found.document, Manifest):
            platforms = await platforms_of_config(repository, found.document.config)
            shown["Descriptor"]["platform"] = platforms[0] if platforms else {"architecture": "", "os": ""}
        return shown


async def _each(repository: Repository, target: Reference, entries: tuple[Descriptor, ...]) -> list[Json]:
    """Fetch what an index names, one after the other."""
    shown = []
    size = 0
    for entry in entries:
        size += entry.size
        if size > _MOST:
            raise Error(f"the manifests of {target.familiar()} are too large to be shown together")
        found = await repository.manifest(entry.digest)
        item = _shown(replace(target, digest=Digest.parse(entry.digest)), found)
        item["Descriptor"]["platform"] = _platform(entry)
        shown.append(item)
    return shown


def _shown(reference: Reference, found: FetchedManifest) -> Json:
    descriptor = found.descriptor
    return {
        "Ref": reference.canonical(),
        "Descriptor": {"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size},
        "Raw": b64encode(found.data).decode(),
    }


def _descriptor(entry: Descriptor) -> Json:
    described = {"mediaType": entry.media_type, "digest": entry.digest, "size": entry.size}
    return {**described, "platform": _platform(entry)}


def _platform(entry: Descriptor) -> Json:
    return platform_json(entry.platform) if entry.platform else {"architecture": "", "os": ""}
