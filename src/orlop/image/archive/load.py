"""Loading an archive: from its bytes to images whose layers are in place, ready for the one transaction.

Three kinds are read: with ``manifest.json`` (`docker save` since 1.10, podman, skopeo; since Docker 25 with an OCI
layout inside), OCI layouts with ``index.json`` alone, and what Docker before 1.10 wrote (``repositories``). All bytes
are hostile; every digest that the archive states is verified.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from orlop.errors import InvalidArgument
from orlop.formats import reference
from orlop.formats.digest import Digest
from orlop.formats.platform import Platform, choose, normalize
from orlop.formats.reference import Reference
from orlop.image.archive import docker, oci
from orlop.image.archive.listing import Listed
from orlop.image.archive.progress import Report
from orlop.image.archive.spool import Spool, spool
from orlop.image.assembly import Assembly
from orlop.image.compression import MAGIC_LENGTH, Read, decompressed, detect, peeked
from orlop.image.config import ImageConfig, parse_config
from orlop.image.depot import Depot
from orlop.image.leases import Lease
from orlop.image.unpack import Limits
from orlop.model.record import ImageRecord, LayerRecord

__all__ = ["Loaded", "load_archive", "make_record"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image from an archive, with the names that it is to have."""

    record: ImageRecord
    names: tuple[Reference, ...]
    labels: dict[str, str]


def load_archive(
    read: Read,
    depot: Depot,
    lease: Lease,
    *,
    host: Platform,
    wanted: Platform | None = None,
    limits: Limits | None = None,
    report: Report | None = None,
) -> list[Loaded]:
    """Read a whole archive in the calling thread; put its blobs and layers into the depot, held by `lease`.

    Of images for several platforms the `wanted` one is taken, else the one that suits `host`. Raises
    `InvalidArgument` (then nothing of it becomes visible, and what was ingested goes with the lease) and `OSError`.
    """
    limits = limits or Limits()
    start, read = peeked(read, MAGIC_LENGTH)
    members = Spool()
    assembly = Assembly(depot, lease, limits)
    try:
        spool(decompressed(read, detect(start)), depot, lease, limits, report, members)
        loaded = [_load(listed, members, depot, lease, assembly, wanted) for listed in _list(members, host, wanted)]
        assembly.finish()
        return loaded
    finally:
        assembly.abandon()
        members.abandon()


def _list(members: Spool, host: Platform, wanted: Platform | None) -> list[Listed]:
    """Return the images of an archive of any kind."""
    if members.has(docker.MANIFEST):
        return docker.list_images(members)
    if members.has(oci.INDEX):
        return oci.list_images(members, host, wanted)
    if members.has(docker.REPOSITORIES):
        return docker.list_old_images(members)
    raise InvalidArgument("invalid archive: neither manifest.json nor index.json is in it")


def _load(
    listed: Listed, members: Spool, depot: Depot, lease: Lease, assembly: Assembly, wanted: Platform | None
) -> Loaded:
    taken = [members.layer(name) for name in listed.layers]
    data = listed.config if isinstance(listed.config, bytes) else listed.config(taken)
    config = parse_config(data)
    if wanted is not None:
        _check_platform(config, wanted)
    layers = assembly.place(config.rootfs.diff_ids, taken)
    digest = Digest.of(data, listed.algorithm)
    lease.hold(str(digest))
    if not depot.content.has(digest):
        with depot.content.ingest(listed.algorithm) as ingest:
            ingest.write(data)
            ingest.commit(digest, durable=False)
    names = tuple(_name(text) for text in listed.names)
    return Loaded(make_record(str(digest), config, layers), names, config.labels)


def make_record(image_id: str, config: ImageConfig, layers: tuple[LayerRecord, ...]) -> ImageRecord:
    """Return the record of an image with this configuration and these layers."""
    return ImageRecord(
        id=image_id,
        created_at=config.created_at,
        layers=layers,
        size=sum(layer.unpacked_size for layer in layers),
        architecture=config.architecture,
        os=config.os or "linux",
        variant=config.variant or "",
        loaded_at=time.time_ns(),
    )


def _name(text: str) -> Reference:
    name = reference.parse(text)
    if not name.tag or name.digest:
        raise InvalidArgument(f'invalid tag "{text}"')
    return name


def _check_platform(config: ImageConfig, wanted: Platform) -> None:
    platform = normalize(Platform(config.os or "linux", config.architecture, config.variant or ""))
    if choose(wanted, [platform]) is None:
        raise InvalidArgument(f"image platform ({platform}) does not match the requested platform ({wanted})")
