"""What a pull asks for, which image of an index it takes, and how its progress is told."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from orlop.engine.images.auth import server_host
from orlop.engine.images.pull import parse_source
from orlop.engine.images.pull_progress import Progress
from orlop.engine.images.resolution import Found, NoMatch, check_manifest, find_manifest
from orlop.errors import Error, Forbidden, InvalidArgument
from orlop.formats.digest import Digest
from orlop.formats.platform import Platform
from orlop.image.fetch import Phase
from orlop.image.gather import Row
from orlop.model.oci import media
from orlop.model.oci.documents import Descriptor, Manifest, parse

Json = dict[str, Any]
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
D = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("name", "tag", "canonical"),
    [
        ("busybox", "1", "docker.io/library/busybox:1"),
        ("busybox:1", "2", "docker.io/library/busybox:2"),
        ("busybox:1", "", "docker.io/library/busybox:1"),
        ("busybox", "", "docker.io/library/busybox"),
        ("localhost:5000/x:", "", "localhost:5000/x"),
        ("busybox:1", D, f"docker.io/library/busybox@{D}"),
        (f"busybox@{D}", "", f"docker.io/library/busybox@{D}"),
    ],
)
def test_the_tag_of_a_request_may_be_a_digest_and_none_means_all(name: str, tag: str, canonical: str) -> None:
    assert parse_source(name, tag).canonical() == canonical


def test_reserved_and_malformed_names_are_refused() -> None:
    with pytest.raises(Forbidden, match="'scratch' is a reserved name"):
        parse_source("scratch", "latest")
    with pytest.raises(InvalidArgument, match="invalid tag format"):
        parse_source("x", "a b")


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("", "docker.io"),
        ("https://index.docker.io/v1/", "index.docker.io"),
        ("localhost:5000", "localhost:5000"),
        ("http://reg.example/v2/", "reg.example"),
    ],
)
def test_a_login_names_its_registry_by_host_or_address(address: str, host: str) -> None:
    assert server_host(address) == host


def test_a_login_address_of_nothing_is_refused() -> None:
    for address in ("https://", "https://user:secret@host", "//[x"):
        with pytest.raises(InvalidArgument, match="unable to parse server address"):
            server_host(address)


class Shelf:
    """Documents by digest, as a registry has them."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.fetched: list[str] = []

    def put(self, document: Json) -> Json:
        data = json.dumps({"schemaVersion": 2, **document}).encode()
        digest = str(Digest.of(data))
        self.documents[digest] = data
        return {"mediaType": document["mediaType"], "digest": digest, "size": len(data)}

    def manifest(self, seed: str, kind: str = media.OCI_LAYER_GZIP, config: str = media.OCI_CONFIG) -> Json:
        config_descriptor = {"mediaType": config, "digest": str(Digest.of(seed.encode())), "size": 1}
        return self.put(
            {
                "mediaType": media.OCI_MANIFEST,
                "config": config_descriptor,
                "layers": [{"mediaType": kind, "digest": D, "size": 1}],
            }
        )

    def index(self, *entries: Json) -> Json:
        return self.put({"mediaType": media.OCI_INDEX, "manifests": list(entries)})

    def found(self, descriptor: Json) -> Found:
        data = self.documents[descriptor["digest"]]
        return Found(descriptor["digest"], data, parse(data))

    async def fetch(self, descriptor: Descriptor) -> Found:
        self.fetched.append(descriptor.digest)
        return self.found({"digest": descriptor.digest})

    async def find(self, top: Json, wanted: Platform = AMD64) -> str:
        return (await find_manifest(self.found(top), wanted, self.fetch))[0].digest


def on(descriptor: Json, text: str, **fields: Any) -> Json:
    system, architecture, *variant = text.split("/")
    return {
        **descriptor,
        "platform": {"os": system, "architecture": architecture, **({"variant": variant[0]} if variant else {})},
        **fields,
    }


async def test_the_manifest_that_suits_the_platform_is_taken() -> None:
    shelf = Shelf()
    amd64, arm64, arm = shelf.manifest("a"), shelf.manifest("b"), shelf.manifest("c")
    attestation = on(
        shelf.manifest("d"), "unknown/unknown", annotations={"vnd.docker.reference.type": "attestation-manifest"}
    )
    top = shelf.index(attestation, on(arm, "linux/arm/v7"), on(arm64, "linux/arm64/v8"), on(amd64, "linux/amd64"))
    assert await shelf.find(top) == amd64["digest"]
    assert await shelf.find(top, ARM64) == arm64["digest"]
    with pytest.raises(NoMatch, match=r"^no matching manifest for linux/s390x in the manifest list entries$"):
        await shelf.find(top, Platform("linux", "s390x"))
    assert await shelf.find(amd64, ARM64) == amd64["digest"]  # one that stands alone is whatever it is


async def test_an_index_in_an_index_is_looked_into_but_not_without_end() -> None:
    shelf = Shelf()
    image = shelf.manifest("a")
    other = shelf.index(on(shelf.manifest("b"), "linux/arm64"))
    assert await shelf.find(shelf.index(other, shelf.index(on(image, "linux/amd64")))) == image["digest"]
    deep = image
    for _ in range(10):
        deep = shelf.index(deep)
    with pytest.raises(InvalidArgument, match="nested deeper than 4"):
        await shelf.find(deep)
    wide = shelf.index(*[other] * 100)
    shelf.fetched.clear()
    with pytest.raises(InvalidArgument, match="no image among its first"):
        await shelf.find(wide)
    assert len(shelf.fetched) < 100


async def test_a_manifest_of_another_size_than_the_index_says_is_refused() -> None:
    shelf = Shelf()
    with pytest.raises(InvalidArgument, match="bytes, not 3"):
        await shelf.find(shelf.index(on({**shelf.manifest("a"), "size": 3}, "linux/amd64")))


async def test_foreign_and_unknown_layers_are_refused() -> None:
    shelf = Shelf()
    with pytest.raises(InvalidArgument, match="is foreign"):
        await shelf.find(shelf.manifest("a", media.DOCKER_FOREIGN_LAYER))
    with pytest.raises(
        InvalidArgument, match=r"^unsupported media type application/vnd.oci.image.layer.v1.tar.encrypted"
    ):
        await shelf.find(shelf.manifest("a", "application/vnd.oci.image.layer.v1.tar+encrypted"))


def test_what_is_no_image_is_refused_with_dockers_words() -> None:
    def manifest(kind: str, config: str) -> Manifest:
        return Manifest(media_type=kind, config=Descriptor(media_type=config, digest=D, size=1), layers=())

    check_manifest(manifest(media.DOCKER_MANIFEST, media.DOCKER_CONFIG))
    check_manifest(manifest(media.OCI_MANIFEST, "application/octet-stream"))
    plugin = "application/vnd.docker.plugin.v1+json"
    with pytest.raises(Error, match=r'^Encountered remote "application/vnd\.docker\.plugin\.v1\+json"\(plugin\) when'):
        check_manifest(manifest(media.DOCKER_MANIFEST, plugin))
    with pytest.raises(Error, match=r"^unsupported media type application/vnd\.cncf\.helm\.config\.v1\+json$"):
        check_manifest(manifest(media.OCI_MANIFEST, "application/vnd.cncf.helm.config.v1+json"))


def row(known: bool = False, **fields: Any) -> Row:
    fetch = SimpleNamespace(phase=Phase.WAITING, downloaded=0, extracted=0, retry_at=0.0, **fields)
    descriptor = Descriptor(media_type=media.OCI_LAYER, digest=D, size=100)
    return Row(descriptor, known, None if known else fetch)  # type: ignore[arg-type]


def lines(messages: list[Json]) -> list[str]:
    return [
        message["status"] + (f" {detail['current']}/{detail['total']}" if (detail := message["progressDetail"]) else "")
        for message in messages
    ]


async def test_progress_is_told_in_dockers_order_and_nothing_twice() -> None:
    rows = [row()]
    fetch: Any = rows[0].fetch
    progress = Progress(rows)
    assert lines(progress.news()) == ["Pulling fs layer", "Waiting"]
    assert progress.news() == []
    fetch.phase, fetch.downloaded = Phase.DOWNLOADING, 40
    [message] = progress.news()
    assert message == {
        "status": "Downloading",
        "progressDetail": {"current": 40, "total": 100},
        "progress": "[====================>                              ]      40B/100B",
        "id": "a" * 12,
    }
    fetch.phase, fetch.downloaded = Phase.VERIFYING, 100
    assert lines(progress.news()) == ["Downloading 100/100", "Verifying Checksum"]
    fetch.phase, fetch.extracted = Phase.EXTRACTING, 70
    assert lines(progress.news()) == ["Download complete", "Extracting 70/100"]
    assert progress.news() == []
    fetch.phase = Phase.COMPLETE
    assert lines(progress.news()) == ["Extracting 100/100", "Pull complete"]
    assert progress.news() == []


async def test_a_layer_that_is_quick_skips_no_step_and_one_that_is_here_has_none() -> None:
    rows = [row(known=True), row()]
    fetch: Any = rows[1].fetch
    fetch.phase = Phase.COMPLETE
    assert lines(Progress(rows).news()) == [
        "Already exists",
        "Pulling fs layer",
        "Downloading 100/100",
        "Verifying Checksum",
        "Download complete",
        "Extracting 100/100",
        "Pull complete",
    ]


async def test_a_pause_before_another_attempt_is_counted_down() -> None:
    import asyncio

    rows = [row()]
    fetch: Any = rows[0].fetch
    fetch.phase = Phase.DOWNLOADING
    progress = Progress(rows)
    progress.news()
    fetch.retry_at = asyncio.get_running_loop().time() + 4.5
    assert lines(progress.news()) == ["Retrying in 5 seconds"]
    fetch.retry_at -= 4
    assert lines(progress.news()) == ["Retrying in 1 second"]
